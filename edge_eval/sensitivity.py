"""What each tensor's and each layer's rounding costs in a quantized network, measured and drawn."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import InputError
from models.files import refuse_existing, refuse_unwritable, written_whole
from models.progress import Progress, silent

from .quantization import Quantization

if TYPE_CHECKING:
    from models.deploy import SpanDeploy
    from quantize.quantized import QuantizedSpan
    from quantize.sensitivity import Cost

Kind = Literal["activation", "weight"]

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
TITLES: dict[Kind, str] = {"activation": "activations, one tensor each", "weight": "weights, one layer each"}
LEAST_DROP_DB = 1e-6
"""What is drawn for a cost of nothing: the axis is logarithmic."""


def costs_of(
    network: "SpanDeploy", quantized: "QuantizedSpan", plan: Quantization, *, progress: Progress = silent
) -> "list[Cost]":
    """The costs, the dearest first, on crops of the calibration images.

    Args:
        network: the folded float network.
        quantized: what became of it by `plan`.
        plan: how; the same images, effort and seed give the same balance of channels as the search had.
        progress: told after every run of the network.
    """
    from quantize.balance import place_image
    from quantize.calibration import CalibrationSet
    from quantize.ptq import EFFORTS, rearranged
    from quantize.recipe import recipe_named
    from quantize.sensitivity import measure_costs
    from quantize.starts import seed_of_start

    frames = [sample.lr for sample in plan.calibration]
    seed = seed_of_start(plan.seed, quantized.provenance.start)
    calibration = CalibrationSet.of(frames, channels=network.config.in_channels, seed=seed)
    effort = EFFORTS[plan.effort]
    crops = calibration.crops(effort.crops, effort.side)
    nodes = rearranged(network, recipe_named(quantized.recipe), crops, seed=seed)
    place_image(nodes, (), quantized.activations)
    return measure_costs(quantized, nodes, crops, progress=progress)


def refuse_picture(path: Path, *, overwrite: bool) -> None:
    """Refuse a plot that cannot be written, before any work is done.

    Raises:
        InputError: its suffix is no picture's, it exists, or its folder cannot be written.
    """
    if path.suffix not in PICTURE_SUFFIXES:
        raise InputError(f"{path}: a plot's name ends in {', '.join(PICTURE_SUFFIXES)}; give such a name")
    refuse_existing(path, overwrite=overwrite)
    refuse_unwritable(path)


def draw_costs(costs: "Sequence[Cost]", path: Path, *, title: str, overwrite: bool = False) -> None:
    """Write a picture with one bar per cost, the kinds side by side, the dearest at the top.

    Raises:
        InputError: see `refuse_picture`.
    """
    from matplotlib.figure import Figure

    refuse_picture(path, overwrite=overwrite)
    by_kind = {kind: [cost for cost in costs if cost.kind == kind] for kind in TITLES}
    shown = {kind: found for kind, found in by_kind.items() if found}
    rows = max(map(len, shown.values()))
    figure = Figure(figsize=(6.4 * len(shown), 1.6 + 0.19 * rows), layout="constrained")
    figure.suptitle(title)
    lowest = _lowest(costs)
    for axes, (kind, found) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True
    ):
        drops = [max(cost.drop_db, LEAST_DROP_DB) for cost in found]
        axes.barh([cost.name for cost in found], drops, color="#2563c9", height=0.7)
        axes.set_xscale("log")
        axes.set_xlim(lowest, 2 * max(*(cost.drop_db for cost in costs), lowest))
        axes.set_ylim(rows - 0.4, -0.6)
        axes.set_title(TITLES[kind], fontsize=10)
        axes.set_xlabel("drop of PSNR-Y if rounded alone, dB")
        axes.tick_params(axis="y", labelsize=7, length=0)
        axes.grid(axis="x", color="#dfe3e9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path, overwrite=overwrite) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=150)


def _lowest(costs: "Sequence[Cost]") -> float:
    """The axis's left end: the power of ten below the smallest cost that is worth seeing."""
    seen = [cost.drop_db for cost in costs if cost.drop_db > LEAST_DROP_DB]
    return 10.0 ** math.floor(math.log10(min(seen, default=LEAST_DROP_DB)))
