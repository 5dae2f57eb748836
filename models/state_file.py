"""From a file to named float32 tensors, or to a refusal. Nothing in the file is ever executed."""

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .bundled.catalogue import bundled_names
from .errors import InputError

LARGEST_BYTES = 1 << 30
"""A SPAN training state is a few tens of MB. More than this, packed or unpacked, is something else."""

CONTAINERS = ("params_ema", "params", "state_dict", "model")
"""Where training frameworks keep the weights, best first; they may be nested."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net_g.")
"""What wrappers (DataParallel, torch.compile, trainers) put before every name."""

NO_NORM = "no_norm"
"""An entry, of any dtype, by which the community marks networks trained without normalization."""

DAMAGED = (
    zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, TypeError, KeyError, IndexError,
    AttributeError, AssertionError, MemoryError, OverflowError, struct.error,
)  # fmt: skip
"""What `torch.load` raises on damaged files: it has no error of its own, and its unpickler checks little."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True, kw_only=True)
class StateFile:
    """The tensors of a file.

    Attributes:
        tensors: unwrapped, by name, finite floats in the file's own dtype, on the CPU.
        metadata: text entries of a .safetensors file; empty for others.
        notes: what was chosen on the way.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    notes: tuple[str, ...]


def read_state_file(path: Path) -> StateFile:
    """The tensors of a .pth, .pt or .safetensors file; which it is, is told by content and not by suffix.

    Raises:
        InputError: it cannot be read, is not such a file, holds code, no weights, or weights that are not
            finite floats.
    """
    head = _first_bytes(path)
    content: object
    metadata: Mapping[str, str] = {}
    if head[8:9] == b"{":
        content, metadata = _read_safetensors(path)
    elif head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        content = _read_torch(path, zipped=head[:2] == b"PK")
    else:
        raise InputError(
            f"{path} is neither a PyTorch checkpoint (.pth, .pt) nor a .safetensors file; "
            "give a checkpoint saved by torch.save or safetensors"
        )
    weights, notes = _unwrapped(path, content)
    tensors = _without_prefixes(_only_tensors(path, weights))
    _refuse_values(path, tensors)
    return StateFile(tensors=tensors, metadata=metadata, notes=notes)


def listed(names: list[str], most: int = 6) -> str:
    """Names for a message: all, or the first few and how many more."""
    more = len(names) - most
    return ", ".join(map(shown, names[:most])) + (f" and {more} more" if more > 0 else "")


def shown(text: str, most: int = 120) -> str:
    """Text out of a file as a message may show it: on one line, without control characters, not too long."""
    clean = "".join(character if character.isprintable() else "?" for character in text[: most + 1])
    return clean if len(clean) <= most else f"{clean[:most]}..."


def _first_bytes(path: Path) -> bytes:
    """The file's first bytes, once it is known to be a file of a sensible size."""
    try:
        _refuse_non_files(path)
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error


def _refuse_non_files(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the checkpoint file in it")
    if not path.exists():
        raise InputError(
            f"there is no file {path}, and no checkpoint of that name comes with span-edge; give a "
            f"checkpoint file (.pth, .pt or .safetensors) or one of {', '.join(bundled_names())}"
        )
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a checkpoint file (.pth, .pt or .safetensors)")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path} is empty; download or copy it again")
    if size > LARGEST_BYTES:
        raise InputError(_too_large(path, size))


def _too_large(path: Path, size: int) -> str:
    return (
        f"{path} holds {size / 2**20:.0f} MiB, far more than any SPAN checkpoint; "
        f"give a file of at most {LARGEST_BYTES >> 20} MiB"
    )


def _read_safetensors(path: Path) -> tuple[Mapping[str, object], Mapping[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            names = stream.keys()
            return {name: stream.get_tensor(name) for name in names}, stream.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or truncated ({_first_line(error)}); copy it again") from error


def _read_torch(path: Path, *, zipped: bool) -> object:
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > LARGEST_BYTES:
                raise InputError(_too_large(path, unpacked))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which load or are refused in words of our own
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(_unpickling_refusal(path, str(error))) from error
    except DAMAGED as error:
        raise InputError(
            f"{path} is damaged, truncated or not a checkpoint ({_first_line(error)}); "
            "copy it again, or save the state dict with torch.save"
        ) from error
    return content


def _unpickling_refusal(path: Path, reason: str) -> str:
    """Why the restricted unpickler stopped: a class or function by name, or something else."""
    named = re.search(r"(?:GLOBAL |class |Unsupported global: )`?([\w.]+\.[\w.]+)", reason)
    if named is None:
        return (
            f"{path} is damaged or is not a checkpoint: it cannot be unpickled safely; "
            "save the state dict alone"
        )
    return (
        f"{path} wants to run code on loading ({named[1]}), which is never done; "
        "save the state dict alone with torch.save(network.state_dict(), ...) or as .safetensors"
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return shown(text[0] if text else type(error).__name__, 160)


def _unwrapped(path: Path, content: object) -> tuple[Mapping[object, object], tuple[str, ...]]:
    """The innermost mapping behind known container names, and a note where one was chosen among several."""
    notes: list[str] = []
    while isinstance(content, Mapping):
        found = [name for name in CONTAINERS if isinstance(content.get(name), Mapping)]
        if not found:
            return content, tuple(notes)
        if len(found) > 1:
            notes.append(f"the file holds {' and '.join(found)}; {found[0]} is used")
        content = content[found[0]]
    raise InputError(
        f"{path} holds a {type(content).__name__}, not named tensors; "
        "save the state dict with torch.save(network.state_dict(), ...)"
    )


def _only_tensors(path: Path, weights: Mapping[object, object]) -> dict[str, Tensor]:
    others = [
        f"{name} ({type(value).__name__})" for name, value in weights.items() if not isinstance(value, Tensor)
    ]
    if not weights or others:
        held = f"entries that are not tensors: {listed(others)}" if others else "no tensors"
        raise InputError(
            f"{path} holds {held}; accepted is a state dict, bare or under {', '.join(CONTAINERS)}"
        )
    tensors = {str(name): value for name, value in weights.items() if isinstance(value, Tensor)}
    size = sum(tensor.numel() for tensor in tensors.values()) * 4
    if size > LARGEST_BYTES:
        raise InputError(_too_large(path, size))
    return tensors


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the wrappers' prefixes that all names share."""
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _refuse_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not plain floats, or that are not finite as float32."""
    odd = [
        f"{name} ({_kind(tensor)})"
        for name, tensor in tensors.items()
        if (tensor.dtype not in FLOATS and name != NO_NORM)
        or tensor.layout != torch.strided
        or tensor.is_meta
    ]
    if odd:
        raise InputError(
            f"{path} holds tensors that are not plain floats: {listed(odd)}; "
            "accepted are float16, bfloat16, float32 and float64"
        )
    wild = [name for name, tensor in tensors.items() if not bool(tensor.float().isfinite().all())]
    if wild:
        raise InputError(
            f"{path} holds NaN or infinite weights in {listed(wild)}; "
            "the training diverged or the file is damaged"
        )


def _kind(tensor: Tensor) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_meta:
        return f"{name} without data"
    return name if tensor.layout == torch.strided else f"sparse {name}"
