"""SPAN networks: training form, folded form, the fold between them, and checkpoints."""

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
