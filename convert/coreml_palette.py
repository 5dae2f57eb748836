"""Palettized weights: each convolution's become indices into a table of 256, 64 or 16 float16 numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.progress import Progress, silent

from .coreml_library import load_coremltools, without_bars


def palettized(model: Any, *, bits: int, progress: Progress = silent) -> Any:
    """A new `MLModel` whose convolutions' weights have palettes; `model` is left unchanged.

    Args:
        model: a float16 `MLModel`, loaded or not.
        bits: of an index: 8, 6 or 4.
        progress: told of every convolution.
    """
    load_coremltools()
    from coremltools.optimize import coreml as optimize

    program = model._mil_program
    total = sum(op.op_type == "conv" for op in program.functions["main"].operations)
    done = 0

    def table(weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        nonlocal done
        done += 1
        progress("palettize weights", done, total)
        return palette(weight, bits)

    config = optimize.OpPalettizerConfig(mode="custom", lut_function=table, weight_threshold=0)
    with without_bars():
        return optimize.palettize_weights(
            model, optimize.OptimizationConfig(op_type_configs={"conv": config})
        )


def palette(weight: NDArray[Any], bits: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The table of 2**bits numbers that leaves the least error, and the index of each weight.

    It is the exact minimum of one-dimensional k-means (dynamic programming, the `kmeans1d` that coremltools
    brings), with every error counted relative to its output channel's energy: the folded kernels of SPAN
    differ by 45 times in scale, and a channel of small weights says no less than one of large weights.

    Args:
        weight: (O, I, k, k), float16.
        bits: of an index.

    Returns:
        the table, in the weight's type, its last number repeated where there are fewer; the indices, flat.
    """
    from coremltools._deps import kmeans1d

    exact = weight.astype(np.float64)
    energy = np.square(exact).sum(axis=(1, 2, 3), keepdims=True)
    importance = np.broadcast_to(1 / np.maximum(energy, 1e-12 * energy.max(initial=1e-30)), exact.shape)
    values, place = np.unique(exact, return_inverse=True)
    counted = np.bincount(place.ravel(), weights=importance.ravel())
    found = kmeans1d.cluster(values, min(len(values), 2**bits), weights=counted)
    centroids = np.asarray(found.centroids)
    numbers = np.pad(centroids, (0, 2**bits - len(centroids)), mode="edge")
    return numbers.astype(weight.dtype), np.asarray(found.clusters)[place.ravel()]
