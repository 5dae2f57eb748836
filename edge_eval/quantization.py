"""From a float network and a folder of images to a quantized network, for the commands that quantize."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from convert.artifact import Source
from models.errors import InputError
from models.progress import Progress, silent

from .datasets import LISTED_NAMES, Dataset, Pair, bundled_photographs, open_dataset
from .frames import Channels, read_frame

if TYPE_CHECKING:
    from models.deploy import SpanDeploy
    from quantize.quantized import QuantizedSpan

    from .qat import QatJob, QatOptions

EffortName = Literal["fast", "best"]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How a network is quantized, whatever the recipe.

    Attributes:
        calibration: images that are learned from, of which `ptq` sees the low resolution alone; never those
            of an evaluation.
        effort: how long the search of `ptq` takes.
        seed: of everything drawn at random.
        method: row of `METHODS`.
        training: how `qat` trains; None for its defaults.
        start: a quantized network that `qat` starts from; None to make one by `ptq`.
    """

    calibration: Dataset
    effort: EffortName = "fast"
    seed: int = 0
    method: str = "ptq"
    training: "QatOptions | None" = None
    start: "QuantizedSpan | None" = None


def open_calibration(source: Path | None, *, scale: int, channels: Channels) -> Dataset:
    """The images in `source`, or the photographs in scikit-image that are kept for calibration.

    Raises:
        InputError: there are none.
    """
    if source is None:
        return bundled_photographs("calibration", scale=scale, channels=channels)
    return open_dataset(source, scale=scale, channels=channels)


class Method(Protocol):
    """A way from a float network to a quantized one."""

    def __call__(
        self,
        network: "SpanDeploy",
        source: Source,
        plan: Quantization,
        *,
        recipe: str,
        resume: Path | None,
        progress: Progress,
    ) -> "QuantizedSpan":
        """As `quantize_network`."""


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
    return METHODS[plan.method](network, source, plan, recipe=recipe, resume=resume, progress=progress)


def _ptq(
    network: "SpanDeploy",
    source: Source,
    plan: Quantization,
    *,
    recipe: str,
    resume: Path | None,
    progress: Progress,
) -> "QuantizedSpan":
    """Post-training quantization: calibration and a search, from low resolution alone."""
    from quantize.ptq import quantize_ptq

    frames = []
    for index, sample in enumerate(plan.calibration):
        frames.append(sample.lr)
        progress("read calibration images", index + 1, len(plan.calibration), sample.name)
    return quantize_ptq(
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


def _qat(
    network: "SpanDeploy",
    source: Source,
    plan: Quantization,
    *,
    recipe: str,
    resume: Path | None,
    progress: Progress,
) -> "QuantizedSpan":
    """Quantization-aware training, from originals."""
    from .qat import run_qat

    job = qat_job(network, source, plan, recipe=recipe)
    return run_qat(job, state=resume, progress=progress).quantized


METHODS: Mapping[str, Method] = {"ptq": _ptq, "qat": _qat}
"""Every method that there is, and the function that does it."""


def qat_job(network: "SpanDeploy", source: Source, plan: Quantization, *, recipe: str) -> "QatJob":
    """What `plan` asks of quantization-aware training."""
    from .qat import QatJob, QatOptions

    return QatJob(
        network=network,
        source=source,
        recipe=recipe,
        data=plan.calibration,
        options=plan.training or QatOptions(),
        start=plan.start,
        effort=plan.effort,
        seed=plan.seed,
    )


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
