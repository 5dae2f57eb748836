"""What a quantized network loses on held-out images while it trains, drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.files import written_whole

from .sensitivity import refuse_picture

if TYPE_CHECKING:
    from models.training import Point


def draw_curve(
    curve: "Sequence[Point]", path: Path, *, float_psnr_y_db: float, title: str, overwrite: bool = False
) -> None:
    """Write a picture of the drop against minutes, the start as a line across.

    Args:
        curve: the looks at the held-out images, the first of them at the start.
        path: .png, .svg or .pdf.
        float_psnr_y_db: of the float network on the same images.
        title: of the picture.
        overwrite: whether it may be replaced.

    Raises:
        InputError: see `refuse_picture`.
    """
    from matplotlib.figure import Figure

    refuse_picture(path, overwrite=overwrite)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    drops = [float_psnr_y_db - point.psnr_y_db for point in curve]
    axes.plot([point.seconds / 60 for point in curve], drops, color="#2563c9", marker="o", markersize=3)
    axes.axhline(drops[0], color="#8a94a3", linewidth=1, linestyle="--", label="start")
    axes.axhline(0, color="#20262e", linewidth=1, label="float network")
    axes.set_xlabel("minutes of training")
    axes.set_ylabel("drop of held-out PSNR-Y, dB")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(color="#dfe3e9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    with written_whole(path, overwrite=overwrite) as scratch:
        figure.savefig(scratch, format=path.suffix[1:], dpi=150)
