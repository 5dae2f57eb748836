"""A TFLite file's pixels on emulated Arm cores beside those of this computer, and why they differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.progress import Progress, silent

from ..cost import count_costs
from ..runner import FloatImage, to_frame
from ..runtimes.table import RUNTIMES, open_runner

HOST = "tflite"
INTEGER_PRECISIONS = {"int8", "int16"}


@dataclass(frozen=True, kw_only=True)
class CoreComparison:
    """One file on one core.

    Attributes:
        artifact: name of the file.
        runtime: row of `RUNTIMES`.
        same_bytes: whether the output is this computer's, bit by bit.
        largest: largest difference of intensities, [0, 1] nominally.
        frames_differ: part of the 8-bit values that differ, 0 to 1.
        max_abs_8bit: by how many of 255 levels at most.
        why: what explains it, or that nothing known does.
        explained: whether something does.
    """

    artifact: str
    runtime: str
    same_bytes: bool
    largest: float
    frames_differ: float
    max_abs_8bit: int
    why: str
    explained: bool


def available_cores_as_runtimes() -> tuple[str, ...]:
    """The rows of `RUNTIMES` that emulate an Arm core and are available here."""
    names = (name for name, row in RUNTIMES.items() if row.kind == "tflite" and row.is_emulator)
    return tuple(name for name in names if RUNTIMES[name].unavailable() is None)


def compare_cores(
    path: Path,
    image: FloatImage,
    *,
    runtimes: Sequence[str] | None = None,
    host: str = HOST,
    progress: Progress = silent,
) -> list[CoreComparison]:
    """Run one image on this computer and on each core.

    Args:
        path: a `.tflite` file.
        image: (H, W, C) in [0, 1]; small, for a core takes seconds.
        runtimes: emulated rows of `RUNTIMES`; None: all that are available here.
        host: the row to compare with.
        progress: told after each core.

    Raises:
        InputError: the file cannot be run on one of them.
    """
    wanted = available_cores_as_runtimes() if runtimes is None else tuple(runtimes)
    here = open_runner(path, runtime=host, threads=1)
    expected = here.run(image)
    precisions = {op.precision for op in count_costs(path).operations if op.macs}
    comparisons: list[CoreComparison] = []
    for name in wanted:
        there = open_runner(path, runtime=name, threads=1)
        delegated_alike = getattr(there, "outside", None) == getattr(here, "outside", None)
        comparisons.append(
            judge_core(
                path.name,
                name,
                expected,
                there.run(image),
                integer=precisions <= INTEGER_PRECISIONS,
                delegated_alike=delegated_alike,
            )
        )
        progress("compare cores", len(comparisons), len(wanted), name)
    return comparisons


def judge_core(
    artifact: str,
    runtime: str,
    expected: FloatImage,
    got: FloatImage,
    *,
    integer: bool,
    delegated_alike: bool,
) -> CoreComparison:
    """How two outputs differ, and why.

    Args:
        artifact: name of the file.
        runtime: row of `RUNTIMES` that made `got`.
        expected: this computer's output.
        got: the core's, same shape.
        integer: whether every convolution of the file computes in integers.
        delegated_alike: whether the same operations ran outside XNNPACK on both.
    """
    same = bool(np.array_equal(expected, got))
    levels = np.abs(to_frame(expected).astype(np.int16) - to_frame(got).astype(np.int16))
    most = int(levels.max())
    if same:
        explained, why = True, "same bytes"
    elif not delegated_alike:
        explained, why = True, "other operations are left to TFLite's own kernels, which round otherwise"
    elif not integer and most <= 1:
        explained, why = True, "float kernels add in another order; pixels between two levels move by one"
    else:
        kind = "integer kernels must agree" if integer else "another order of adding moves a pixel by one"
        explained, why = False, f"not explained: {kind}; an emulator's or a kernel's fault"
    return CoreComparison(
        artifact=artifact,
        runtime=runtime,
        same_bytes=same,
        largest=float(np.abs(expected - got).max()),
        frames_differ=float(np.mean(levels > 0)),
        max_abs_8bit=most,
        why=why,
        explained=explained,
    )
