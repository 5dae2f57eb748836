"""A folder of results that appears at once, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import InputError
from models.files import came_of_full_disk, is_inside


def refuse_taken_folder(out: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something, before any work is done.

    Raises:
        InputError: `out` is a file, or holds files and `overwrite` is false.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; give a folder with --out")
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"{out} holds files already; give --overwrite to replace same names, or another --out"
        )


@contextmanager
def output_folder(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A scratch folder beside `out`, whose entries are moved into `out` if the block succeeds.

    If the block fails or is interrupted, `out` is left as it was. Other names in it are never touched.

    Raises:
        InputError: `out` is taken, or cannot be written, or the disk is full.
    """
    refuse_taken_folder(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.resolve().parent))
    except OSError as error:
        raise InputError(
            f"cannot write {out}: {error.strerror}; choose a folder that can be written"
        ) from error
    try:
        (scratch / "new").mkdir()
        (scratch / "old").mkdir()
        yield scratch / "new"
        _move_in(scratch / "new", out, aside=scratch / "old")
    except InputError as error:
        if not came_of_full_disk(error):
            raise
        raise InputError(_no_room(out)) from error
    except OSError as error:
        if error.filename is not None and not any(is_inside(error.filename, f) for f in (scratch, out)):
            raise
        raise InputError(f"cannot write {out}: {error.strerror or error}; nothing was changed") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _no_room(out: Path) -> str:
    return f"cannot write {out}: {os.strerror(errno.ENOSPC)}; nothing was changed"


def _move_in(new: Path, out: Path, *, aside: Path) -> None:
    """Every entry of `new` into `out`; on failure `out` is as before."""
    existed = out.is_dir()
    out.mkdir(exist_ok=True)
    moved: list[str] = []
    try:
        for entry in sorted(new.iterdir()):
            if (out / entry.name).exists():
                (out / entry.name).replace(aside / entry.name)
            entry.replace(out / entry.name)
            moved.append(entry.name)
    except BaseException:
        for name in moved:
            (out / name).replace(new / name)
        for entry in aside.iterdir():
            entry.replace(out / entry.name)
        if not existed:
            out.rmdir()
        raise
