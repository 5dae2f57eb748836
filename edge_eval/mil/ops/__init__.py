"""The kernels, one module per family; importing this package enters them all."""

from . import (
    activation,
    binary,
    compression,
    convolution,
    creation,
    elementwise,
    indexing,
    layout,
    normalization,
    pooling,
    quantization,
    reduction,
    resizing,
)

__all__ = [
    "activation",
    "binary",
    "compression",
    "convolution",
    "creation",
    "elementwise",
    "indexing",
    "layout",
    "normalization",
    "pooling",
    "quantization",
    "reduction",
    "resizing",
]
