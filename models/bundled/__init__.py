"""The checkpoints that come with this package: trained from scratch by `span-edge train`.

Each is three files of one name in this folder, and nothing else names it: `NAME.safetensors` holds the
network in training form and how it was trained, `NAME.json` what was measured and what to know, `NAME.md` is
the model card that `card_text` makes of both.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .card import card_text
    from .catalogue import DEFAULT, bundled_name, bundled_names, bundled_path, located
    from .description import BundledCheckpoint, describe

__all__ = [
    "DEFAULT",
    "BundledCheckpoint",
    "bundled_name",
    "bundled_names",
    "bundled_path",
    "card_text",
    "describe",
    "located",
]

_HOME = {
    "DEFAULT": "catalogue",
    "BundledCheckpoint": "description",
    "bundled_name": "catalogue",
    "bundled_names": "catalogue",
    "bundled_path": "catalogue",
    "card_text": "card",
    "describe": "description",
    "located": "catalogue",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
