"""SPAN networks: training form, folded form, the fold between them, and checkpoints."""

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
