"""SPAN networks: training form, folded form, the fold between them, and checkpoints.

Names are imported when they are first used: torch takes seconds, and `span-edge --help` needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint import Checkpoint, load_checkpoint
    from .config import SpanConfig
    from .deploy import SpanDeploy
    from .errors import InputError
    from .progress import Progress, silent
    from .reparam import reparameterize
    from .span import Span
    from .variants import NETWORKS

__all__ = [
    "NETWORKS",
    "Checkpoint",
    "InputError",
    "Progress",
    "Span",
    "SpanConfig",
    "SpanDeploy",
    "load_checkpoint",
    "reparameterize",
    "silent",
]

_HOME = {
    "NETWORKS": "variants",
    "Checkpoint": "checkpoint",
    "InputError": "errors",
    "Progress": "progress",
    "Span": "span",
    "SpanConfig": "config",
    "SpanDeploy": "deploy",
    "load_checkpoint": "checkpoint",
    "reparameterize": "reparam",
    "silent": "progress",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
