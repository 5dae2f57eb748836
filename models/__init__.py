"""SPAN networks: training form, folded form, the fold between them, and checkpoints.

Names are imported when they are first used: torch takes seconds, and `span-edge --help` needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocks import Conv3XC
    from .checkpoint import Checkpoint, load_checkpoint, save_checkpoint
    from .config import SpanConfig
    from .cost import LayerCost, count_macs, count_parameters, layer_costs
    from .deploy import SpanDeploy
    from .errors import InputError
    from .progress import Progress, silent
    from .reparam import fold_conv3xc, folded_state, reparameterize
    from .span import Span
    from .variants import NETWORKS

__all__ = [
    "NETWORKS",
    "Checkpoint",
    "Conv3XC",
    "InputError",
    "LayerCost",
    "Progress",
    "Span",
    "SpanConfig",
    "SpanDeploy",
    "count_macs",
    "count_parameters",
    "fold_conv3xc",
    "folded_state",
    "layer_costs",
    "load_checkpoint",
    "reparameterize",
    "save_checkpoint",
    "silent",
]

_HOME = {
    "NETWORKS": "variants",
    "Checkpoint": "checkpoint",
    "Conv3XC": "blocks",
    "InputError": "errors",
    "LayerCost": "cost",
    "Progress": "progress",
    "Span": "span",
    "SpanConfig": "config",
    "SpanDeploy": "deploy",
    "count_macs": "cost",
    "count_parameters": "cost",
    "fold_conv3xc": "reparam",
    "folded_state": "reparam",
    "layer_costs": "cost",
    "load_checkpoint": "checkpoint",
    "reparameterize": "reparam",
    "save_checkpoint": "checkpoint",
    "silent": "progress",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
