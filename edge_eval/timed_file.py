"""A file that is to be timed, and what is known of it without running it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError

from .quantized_file import is_quantized, load_quantized_checkpoint
from .runtimes.table import RUNTIMES, default_runtime, kind_of, refuse_runtime

FLOAT = "fp32"


@dataclass(frozen=True, kw_only=True)
class TimedFile:
    """A file, on one runtime.

    Attributes:
        path: of the file.
        runtime: row of `RUNTIMES`.
        recipe: by its own metadata, `fp32` for a float checkpoint; None where it tells none.
        source_sha256: hash of the float checkpoint that it was made from, or is; None where it tells none.
        macs_per_pixel: multiply-accumulates per LR pixel by precision, where the file itself does not tell.
        compared: name of the row of `compare.RIVALS` that made it; None for a file that was given.
        reason: why it cannot be timed, if that is known already.
    """

    path: Path
    runtime: str
    recipe: str | None = None
    source_sha256: str | None = None
    macs_per_pixel: Mapping[str, int] | None = None
    compared: str | None = None
    reason: str | None = None

    @property
    def is_straight_float(self) -> bool:
        """Whether it is the straight float file of its network."""
        return (
            self.recipe == FLOAT and self.compared is None and self.path.suffix in (".tflite", ".mlpackage")
        )

    def macs(self, input_hw: tuple[int, int]) -> dict[str, int] | None:
        """Multiply-accumulates by precision at a size; None where they cannot be told.

        Raises:
            InputError: the file does not go at that size.
        """
        if self.macs_per_pixel is not None:
            pixels = input_hw[0] * input_hw[1]
            return {name: pixels * macs for name, macs in self.macs_per_pixel.items()}
        if kind_of(self.path) not in ("tflite", "coreml"):
            return None
        from .cost import count_costs

        counted: Counter[str] = Counter()
        for operation in count_costs(self.path, input_hw=input_hw).operations:
            if operation.macs:
                counted[operation.precision] += operation.macs
        return dict(counted) or None


def timed_file(path: Path, runtime: str | None = None) -> TimedFile:
    """What a file says of itself.

    Args:
        path: a checkpoint, a TFLite file, an ML Program, or whatever else a row of `RUNTIMES` runs.
        runtime: row of `RUNTIMES`; None: the first available one of the file's kind.

    Raises:
        InputError: there is no such file, or it cannot be read, or the runtime does not run its kind.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a checkpoint, a .tflite file or an .mlpackage")
    kind = kind_of(path)
    name = runtime or default_runtime(kind)
    refuse_runtime(name, kind)
    if kind == "checkpoint":
        return _checkpoint(path, name)
    if kind in ("tflite", "coreml"):
        return described_file(path, name)
    return TimedFile(path=path, runtime=name)


def described_file(path: Path, runtime: str) -> TimedFile:
    """A TFLite file or ML Program with what its metadata says, on a runtime of this computer or a device's.

    Raises:
        InputError: it cannot be read.
    """
    from convert.formats import FORMATS, read_artifact

    kind = kind_of(path)
    assert kind in ("tflite", "coreml"), "other kinds have no metadata"
    if FORMATS[kind].metadata(path) is None:
        return TimedFile(path=path, runtime=runtime)
    info = read_artifact(path).info
    return TimedFile(path=path, runtime=runtime, recipe=info.recipe, source_sha256=info.source.sha256)


def _checkpoint(path: Path, runtime: str) -> TimedFile:
    if is_quantized(path):
        made = load_quantized_checkpoint(path)
        return TimedFile(
            path=path, runtime=runtime, recipe=made.quantized.recipe, source_sha256=made.source.sha256
        )
    from models import load_checkpoint
    from models.cost import count_macs

    checkpoint = load_checkpoint(path)
    return TimedFile(
        path=path,
        runtime=runtime,
        recipe=FLOAT,
        source_sha256=checkpoint.sha256,
        macs_per_pixel={FLOAT: count_macs(checkpoint.config)},
    )


def files_on(models: list[Path], runtimes: tuple[str, ...]) -> list[TimedFile]:
    """Each file on each of the runtimes that run its kind.

    Args:
        models: the files.
        runtimes: rows of `RUNTIMES`; none: each file's first available one; `all`: every row of its kind
            that does not emulate.

    Raises:
        InputError: a file has no runtime among them, or a runtime no file.
    """
    wanted = runtimes or ("",)
    every = tuple(name for name, row in RUNTIMES.items() if not row.is_emulator)
    names = tuple(dict.fromkeys(name for one in wanted for name in (every if one == ALL else (one,))))
    files: list[TimedFile] = []
    used: set[str] = set()
    for path in models:
        kind = kind_of(path)
        fitting = [name for name in names if not name or name not in RUNTIMES or RUNTIMES[name].kind == kind]
        for name in fitting or names[:1]:
            files.append(timed_file(path, name or None))
            used.add(name)
    idle = [name for name in runtimes if name not in used and name != ALL]
    if idle:
        raise InputError(
            f"runtime {', '.join(idle)} runs none of the files; it is for {RUNTIMES[idle[0]].kind} files"
        )
    return files


ALL = "all"
"""Instead of a runtime's name: every one that there is."""
