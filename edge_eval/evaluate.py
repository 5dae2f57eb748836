"""What an artifact costs in quality: it and the float network on each image, both held against the truth."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from convert.artifact import Artifact
from models.errors import InputError
from models.files import size_of
from models.progress import Progress, silent

from . import metrics
from .datasets import Dataset, Sample
from .quantized_file import QuantizedCheckpoint
from .runner import FloatImage, Runner, require_finite, to_frame, to_image
from .tiling import fill_up, run_tiled, tile_for

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint

CACHE_BYTES = 1 << 30
"""Float outputs that a `FloatReference` keeps; what does not fit is computed again for every artifact."""

Small = Literal["refuse", "mirror"]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is evaluated: the file, its size in bytes where it is known, and how it was made."""

    artifact: str
    sha256: str
    format: str
    recipe: str
    method: str | None
    size_bytes: int | None = None

    @classmethod
    def of(cls, model: "Artifact | Checkpoint | QuantizedCheckpoint") -> "Subject":
        """The subject that an artifact, or a checkpoint run by PyTorch, is."""
        if isinstance(model, Artifact):
            info = model.info
            return cls(
                artifact=model.path.name,
                sha256=model.sha256,
                format=info.format,
                recipe=info.recipe,
                method=info.source.method,
                size_bytes=size_of(model.path),
            )
        quantized = model.quantized if isinstance(model, QuantizedCheckpoint) else None
        return cls(
            artifact=Path(model.path).name,
            sha256=model.sha256,
            format="checkpoint",
            recipe=quantized.recipe if quantized else "fp32",
            method=quantized.method if quantized else None,
            size_bytes=size_of(Path(model.path)),
        )


@dataclass(frozen=True, kw_only=True)
class ImageScore:
    """One image's figures; those that need the truth are None without it.

    Attributes:
        name: of the image.
        psnr_y_db: PSNR-Y of the artifact's 8-bit output against the truth; None also where they are
            identical.
        ssim_y: SSIM-Y of the same.
        float_psnr_y_db: PSNR-Y of the float network's 8-bit output against the truth.
        drop_db: float_psnr_y_db - psnr_y_db.
        drift_psnr_y_db: PSNR-Y between both 8-bit outputs; None where they are identical.
        max_abs_8bit: largest difference of both in any channel, in grey levels.
        output_drift_db: PSNR between both outputs before rounding, all channels, no border cut; not in
            the JSON.
        mirrored: whether the image was smaller than the file's size and filled up for both; not in the JSON.
        whole: whether it was smaller and the file's emulator ran it as it is; not in the JSON.
    """

    name: str
    psnr_y_db: float | None
    ssim_y: float | None
    float_psnr_y_db: float | None
    drop_db: float | None
    drift_psnr_y_db: float | None
    max_abs_8bit: int
    output_drift_db: float | None
    mirrored: bool = False
    whole: bool = False

    def to_json(self) -> dict[str, Any]:
        """An entry of `per_image` of `eval --json`."""
        return {name: getattr(self, name) for name in ("name", *FIGURES)}


MEANS = ("psnr_y_db", "ssim_y", "float_psnr_y_db", "drop_db", "drift_psnr_y_db")
FIGURES = (*MEANS, "max_abs_8bit")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One artifact on one runtime over one dataset.

    The figures of `ImageScore` are means over the images that have them; `max_abs_8bit` is the largest.
    """

    subject: Subject
    runtime: str
    dataset: str
    dataset_sha256: str
    scale: int
    psnr_y_db: float | None
    ssim_y: float | None
    float_psnr_y_db: float | None
    drop_db: float | None
    drift_psnr_y_db: float | None
    max_abs_8bit: int
    per_image: tuple[ImageScore, ...]

    @property
    def least_output_drift_db(self) -> float | None:
        """The worst image's PSNR between outputs before rounding; None where all are identical."""
        known = [score.output_drift_db for score in self.per_image if score.output_drift_db is not None]
        return min(known, default=None)

    def to_json(self) -> dict[str, Any]:
        """An entry of `results` of `eval --json`."""
        subject = self.subject
        return {
            "artifact": subject.artifact,
            "sha256": subject.sha256,
            "size_bytes": subject.size_bytes,
            "format": subject.format,
            "recipe": subject.recipe,
            "method": subject.method,
            "runtime": self.runtime,
            "dataset": self.dataset,
            "scale": self.scale,
            "images": len(self.per_image),
            **{name: getattr(self, name) for name in FIGURES},
            "per_image": [score.to_json() for score in self.per_image],
        }


class FloatReference:
    """The float network's outputs on a dataset, computed once for all artifacts.

    Args:
        runner: the float PyTorch network.
        dataset: the images.
        radius: the network's receptive radius in LR pixels.
        tile: (H, W) of tiles, to bound the memory; None: whole images.
    """

    def __init__(
        self, runner: Runner, dataset: Dataset, *, radius: int, tile: tuple[int, int] | None = None
    ) -> None:
        if runner.scale != dataset.scale:
            raise InputError(
                f"the dataset {dataset.name} is for scale {dataset.scale} and the reference network enlarges "
                f"{runner.scale} times; give the checkpoint that the artifact was made from"
            )
        self.dataset = dataset
        self.radius = radius
        self._runner = runner
        self._tile = tile
        self._kept: dict[int, FloatImage] = {}
        self._kept_bytes = 0

    def output(self, index: int, sample: Sample) -> FloatImage:
        """What the float network makes of the sample at `index`, before rounding."""
        if index in self._kept:
            return self._kept[index]
        output = self.run(to_image(sample.lr))
        if self._kept_bytes + output.nbytes <= CACHE_BYTES:
            self._kept[index] = output
            self._kept_bytes += output.nbytes
        return output

    def run(self, image: FloatImage) -> FloatImage:
        """What the float network makes of any image, before rounding."""
        return run_tiled(self._runner, image, radius=self.radius, tile=self._tile)


def evaluate(
    runner: Runner,
    reference: FloatReference,
    subject: Subject,
    *,
    small: Small = "refuse",
    tile: tuple[int, int] | None = None,
    progress: Progress = silent,
    look: Callable[[Sample, FloatImage, FloatImage], None] | None = None,
) -> Evaluation:
    """The quality of an artifact over a dataset.

    Args:
        runner: the artifact on a runtime.
        reference: the float network's outputs, with the dataset.
        subject: what the artifact is.
        small: what becomes of an image smaller than the sizes that the file takes: `refuse`, or `mirror`:
            an emulator that can runs the file's operations on it as it is (`ImageScore.whole`), else it is
            continued by mirroring for both networks (`ImageScore.mirrored`).
        tile: (H, W) of tiles for a runner that takes any size; None: whole images.
        progress: told after each image.
        look: called with each sample, the float output and the artifact's output, both before rounding.

    Raises:
        InputError: scales differ, an image cannot be read or run, or an output holds NaN.
    """
    dataset = reference.dataset
    if runner.scale != dataset.scale:
        raise InputError(
            f"{subject.artifact} enlarges {runner.scale} times, and the dataset and reference are "
            f"for {dataset.scale}"
        )
    scores = []
    any_size = cache(lambda: _any_size(runner))
    for index, sample in enumerate(dataset):
        try:
            is_small = small == "mirror" and not _fits(runner, sample, tile)
            chosen = (any_size() if is_small else None) or runner
            expected, output, mirrored = _outputs(chosen, reference, (index, sample), small, tile)
            score = score_image(sample, output, expected, border=dataset.scale)
            scores.append(replace(score, mirrored=mirrored, whole=chosen is not runner))
        except InputError as error:
            raise InputError(f"{subject.artifact} on {sample.name}: {error}") from error
        if look is not None:
            look(sample, expected, output)
        progress(f"evaluate {subject.artifact}", index + 1, len(dataset), sample.name)
    return Evaluation(
        subject=subject,
        runtime=runner.runtime,
        dataset=dataset.name,
        dataset_sha256=dataset.sha256,
        scale=dataset.scale,
        max_abs_8bit=max(score.max_abs_8bit for score in scores),
        per_image=tuple(scores),
        **{name: metrics.mean_of([getattr(score, name) for score in scores]) for name in MEANS},
    )


def score_image(sample: Sample, output: FloatImage, expected: FloatImage, *, border: int) -> ImageScore:
    """The figures of one image.

    Args:
        sample: with the truth, if there is one.
        output: the artifact's, before rounding, of the truth's shape.
        expected: the float network's.
        border: pixels cut on each side for PSNR-Y and SSIM-Y.
    """
    require_finite(output)
    frame, float_frame = to_frame(output), to_frame(expected)
    psnr = ssim = float_psnr = None
    if sample.hr is not None:
        psnr = metrics.psnr_y_db(frame, sample.hr, border=border)
        float_psnr = metrics.psnr_y_db(float_frame, sample.hr, border=border)
        ssim = metrics.ssim_y(frame, sample.hr, border=border)
    return ImageScore(
        name=sample.name,
        psnr_y_db=psnr,
        ssim_y=ssim,
        float_psnr_y_db=float_psnr,
        drop_db=None if psnr is None or float_psnr is None else float_psnr - psnr,
        drift_psnr_y_db=metrics.psnr_y_db(frame, float_frame, border=border),
        max_abs_8bit=metrics.max_abs_8bit(frame, float_frame),
        output_drift_db=metrics.drift_psnr_db(output, expected),
    )


def _any_size(runner: Runner) -> Runner | None:
    """A runner of the same file without its size, where its runtime is an emulator that has one."""
    made: Callable[[], Runner | None] | None = getattr(runner, "any_size", None)
    return made() if made else None


def _fits(runner: Runner, sample: Sample, tile: tuple[int, int] | None) -> bool:
    """Whether the sample is as large as the size at which the runner would run it."""
    height, width = sample.lr.shape[:2]
    tile_hw = tile_for(runner, (height, width), tile)
    return bool(height >= tile_hw[0] and width >= tile_hw[1])


def _outputs(
    runner: Runner,
    reference: FloatReference,
    place: tuple[int, Sample],
    small: Small,
    tile: tuple[int, int] | None,
) -> tuple[FloatImage, FloatImage, bool]:
    """The float output, the artifact's, and whether the image had to be filled up."""
    index, sample = place
    image = to_image(sample.lr)
    tile_hw = tile_for(runner, (image.shape[0], image.shape[1]), tile)
    filled = fill_up(image, tile_hw) if small == "mirror" else image
    output = run_tiled(runner, filled, radius=reference.radius, tile=tile)
    if filled.shape == image.shape:
        return reference.output(index, sample), output, False
    height, width = (runner.scale * side for side in image.shape[:2])
    expected = reference.run(filled)[:height, :width]
    return np.ascontiguousarray(expected), np.ascontiguousarray(output[:height, :width]), True
