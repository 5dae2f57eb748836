"""The names of the bundled checkpoints, and which file a name stands for."""

from pathlib import Path

from ..errors import InputError

FOLDER = Path(__file__).resolve().parent
SUFFIX = ".safetensors"

DEFAULT = "span_x4_ch28"
"""The checkpoint that is used where none is named."""


def bundled_names() -> tuple[str, ...]:
    """The name of every checkpoint in this folder, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def bundled_path(name: str) -> Path:
    """The file of a bundled checkpoint, whatever else has its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in bundled_names():
        raise InputError(
            f"no checkpoint {name!r} comes with span-edge; give one of {', '.join(bundled_names())}"
        )
    return FOLDER / f"{name}{SUFFIX}"


def located(source: str | Path) -> Path:
    """The file that `source` stands for: the one at that path, else the bundled checkpoint of that name.

    A folder of that name does not count. What is neither comes back as the path that it is.
    """
    path = Path(source)
    if str(path) not in bundled_names() or path.is_file():
        return path
    return bundled_path(str(path))


def bundled_name(path: Path) -> str | None:
    """The name of the bundled checkpoint at `path`; None where it is another file."""
    return path.stem if path.parent == FOLDER and path.suffix == SUFFIX else None


def note_of_namesake(path: Path) -> tuple[str, ...]:
    """A note where the file at `path` was taken and has the name of a bundled checkpoint."""
    if str(path) not in bundled_names():
        return ()
    return (
        f"the file {path} is used; the checkpoint of that name that comes with span-edge would be used if it "
        "were not there",
    )
