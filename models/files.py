"""Files written whole or not at all, and the hash that names them."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError


def sha256_of(path: Path) -> str:
    """The SHA-256 in hexadecimal of a file, or of a folder's relative file names and contents, sorted."""
    digest = hashlib.sha256()
    if path.is_dir():
        for member in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(member.relative_to(path).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(member.read_bytes()).digest())
        return digest.hexdigest()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """The size in bytes of a file, or of everything in a folder (an `.mlpackage` is one)."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size


def refuse_existing(path: Path, *, overwrite: bool, folder: bool = False) -> None:
    """Refuse to write over `path`, before any work is done.

    Args:
        path: what is to be written.
        overwrite: whether it may be replaced.
        folder: whether it is to be a folder; a file never replaces a folder and what is in it.

    Raises:
        InputError: `path` exists and `overwrite` is false, or is a folder and a file is to be written.
    """
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give --overwrite to replace it, or another name")
    if path.is_dir() and not folder:
        raise InputError(_folder_for_file(path))


def _folder_for_file(path: Path) -> str:
    return f"{path} is a folder, which a file would replace with all that is in it; give another name"


def refuse_unwritable(path: Path) -> None:
    """Refuse to write `path` where its folder cannot be written or made, before any work is done.

    Raises:
        InputError: the nearest folder above `path` that exists is a file, or may not be written to.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: {folder} is a file; choose another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: {folder} may not be written to; choose another folder")


@contextmanager
def written_whole(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary path beside `path` (a file or a folder to be made), moved into place if the block succeeds.

    If the block fails, whatever was written is removed and an earlier `path` is left as it was.

    Raises:
        InputError: `path` exists and `overwrite` is false, or is a folder and the block made a file; its
            folder cannot be written, or the disk is full.
    """
    refuse_existing(path, overwrite=overwrite, folder=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; choose a folder that can be written"
        ) from error
    try:
        yield scratch / path.name
        _move_into_place(scratch / path.name, path, scratch)
    except OSError as error:
        if error.filename is not None and not is_inside(error.filename, path.parent):
            raise
        raise InputError(f"cannot write {path}: {_reason(error)}; nothing was changed") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _reason(error: OSError) -> str:
    """Why a write failed, without the list of files that copying a folder brings with it."""
    if isinstance(error, shutil.Error):
        return "not every file of the folder could be copied; is the disk full?"
    return error.strerror or str(error)


def came_of_full_disk(error: InputError) -> bool:
    """Whether `written_whole` refused because there was no room."""
    cause = error.__cause__
    if isinstance(cause, shutil.Error):  # a folder copied in part; it says why in words alone
        return os.strerror(errno.ENOSPC) in str(cause)
    return isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)


def is_inside(name: object, folder: Path) -> bool:
    """Whether the file that an `OSError` names lies in `folder`, or is it."""
    return Path(str(name)).resolve().is_relative_to(folder.resolve())


def _move_into_place(new: Path, path: Path, scratch: Path) -> None:
    """Replace `path` by `new`; a folder there is first set aside, since folders cannot be replaced."""
    if not path.is_dir():
        new.replace(path)
        return
    if not new.is_dir():
        raise InputError(_folder_for_file(path))
    aside = scratch / f"{path.name}.previous"
    path.replace(aside)
    try:
        new.replace(path)
    except OSError:
        aside.replace(path)
        raise


def in_fixed_order(safetensors: bytes) -> bytes:
    """The same safetensors content with its metadata in the order of their names: equal content, equal hash.

    The library writes metadata in an order that differs from process to process.
    """
    length = int.from_bytes(safetensors[:8], "little")
    header = json.loads(safetensors[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + safetensors[8 + length :]
