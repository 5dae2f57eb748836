"""From a float network and a folder of images to a quantized network, for the commands that quantize."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convert.artifact import Source
from models.errors import InputError
from models.progress import Progress, silent

from .datasets import LISTED_NAMES, Dataset, Pair, bundled_photographs, open_dataset
from .frames import Channels, read_frame

if TYPE_CHECKING:
    from models.deploy import SpanDeploy
    from quantize.quantized import QuantizedSpan

EffortName = Literal["fast", "best"]

METHODS: Mapping[str, str] = {"ptq": "quantize.ptq:quantize_ptq"}
"""Every method that there is, and the `module:function` that does it."""


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a network is quantized, whatever the recipe.

    Attributes:
        calibration: images whose low resolution is learned from; never those of an evaluation.
        effort: how long the search takes.
        seed: of everything drawn at random.
        method: row of `METHODS`.
    """

    calibration: Dataset
    effort: EffortName = "fast"
    seed: int = 0
    method: str = "ptq"


def open_calibration(source: Path | None, *, scale: int, channels: Channels) -> Dataset:
    """The images in `source`, or the photographs in scikit-image that are kept for calibration.

    Raises:
        InputError: there are none.
    """
    if source is None:
        return bundled_photographs("calibration", scale=scale, channels=channels)
    return open_dataset(source, scale=scale, channels=channels)


def quantize_network(
    network: "SpanDeploy",
    source: Source,
    plan: Quantization,
    *,
    recipe: str,
    resume: Path | None = None,
    progress: Progress = silent,
) -> "QuantizedSpan":
    """The quantized network.

    Args:
        network: folded; left unchanged.
        source: the checkpoint, for the record.
        plan: how.
        recipe: row of `RECIPES` with integer weights.
        resume: where the search leaves its state, and goes on from if there is one; None keeps none.
        progress: told of every stage.

    Raises:
        InputError: an image cannot be read, or the network, the recipe or the state cannot be used.
    """
    frames = []
    for index, sample in enumerate(plan.calibration):
        frames.append(sample.lr)
        progress("read calibration images", index + 1, len(plan.calibration), sample.name)
    module, _, function = METHODS[plan.method].partition(":")
    quantize: Callable[..., Any] = getattr(import_module(module), function)
    result: QuantizedSpan = quantize(
        network,
        recipe=recipe,
        images=frames,
        effort=plan.effort,
        seed=plan.seed,
        source_name=source.name,
        source_sha256=source.sha256,
        resume=resume,
        progress=progress,
    )
    return result


def refuse_shared_images(calibration: Dataset, evaluation: Dataset) -> None:
    """Refuse to judge a network on images that it was calibrated on, whatever their names.

    Raises:
        InputError: naming the images that have the same pixels in both.
    """
    known = {_pixels_sha256(pair, calibration): pair.name for pair in calibration.pairs}
    shared = [pair.name for pair in evaluation.pairs if _pixels_sha256(pair, evaluation) in known]
    if shared:
        listed = ", ".join(shared[:LISTED_NAMES]) + (", ..." if len(shared) > LISTED_NAMES else "")
        raise InputError(
            f"{len(shared)} of the {len(evaluation)} evaluation images ({listed}) are among the calibration "
            f"images of {calibration.name}, so the figures would flatter; "
            "give others with --calibration DIR or --data DIR"
        )


def _pixels_sha256(pair: Pair, dataset: Dataset) -> str:
    """The hash of the file's pixels: of high resolution where there is some."""
    path = pair.hr or pair.lr
    assert path is not None, "a pair has at least one file"
    frame = read_frame(path, channels=dataset.channels)
    return hashlib.sha256(f"{frame.shape}".encode() + frame.tobytes()).hexdigest()
