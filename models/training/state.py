"""The state of an unfinished training, in one file: safetensors, JSON in its metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..files import written_whole

STATE_KEY = "span_edge_training"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SavedState:
    """An unfinished training.

    Attributes:
        identity: what decides the result; a training is resumed only by one of the same identity.
        record: step, seconds, curve and the like.
        tensors: by part (`network`, `average`, `best`, Adam's moments) and name.
    """

    identity: Mapping[str, Any]
    record: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]


def save_state(state: SavedState, path: Path) -> None:
    """Write it whole, in place of an earlier one.

    Raises:
        InputError: the file cannot be written.
    """
    from safetensors.torch import save

    flat = {
        f"{part}:{name}": tensor.detach().cpu().clone().contiguous()
        for part, tensors in state.tensors.items()
        for name, tensor in tensors.items()
    }
    text = json.dumps({"version": VERSION, "identity": state.identity, "record": state.record})
    content = save(flat, metadata={STATE_KEY: text})
    with written_whole(path, overwrite=True) as scratch:
        # By Python and not by `save_file`, which tells of a full disk by an error of its own.
        scratch.write_bytes(content)


def load_state(path: Path, identity: Mapping[str, Any]) -> SavedState:
    """The state in `path`, once it is known to be of the training that is to go on.

    Raises:
        InputError: there is no such file, it is damaged or something else, or belongs to a training whose
            settings, images or network differ.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"there is no {path} to resume from; leave --resume out to begin")
    tensors: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, framework="pt") as file:
            stored = json.loads((file.metadata() or {})[STATE_KEY])
            for key in file.keys():  # noqa: SIM118
                part, _, name = key.partition(":")
                tensors.setdefault(part, {})[name] = file.get_tensor(key)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is damaged or not the state of a training ({error}); begin again without --resume"
        ) from error
    _refuse_others(
        path, stored["identity"] | {"version": stored["version"]}, {**identity, "version": VERSION}
    )
    return SavedState(identity=identity, record=stored["record"], tensors=tensors)


def _refuse_others(path: Path, stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    different = sorted(key for key in {*stored, *wanted} if stored.get(key) != wanted.get(key))
    if different:
        told = ", ".join(
            f"{key} was {_brief(stored.get(key))}, is {_brief(wanted.get(key))}" for key in different
        )
        raise InputError(
            f"{path} belongs to another training: {told}; give the settings it was begun with, "
            "or begin again without --resume"
        )


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Detached copies, by the same names."""
    with torch.no_grad():
        return {name: tensor.detach().clone() for name, tensor in tensors.items()}
