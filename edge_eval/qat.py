"""From a float network and a folder of photographs to a network that was trained in its integers."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convert.artifact import Source
from models.errors import InputError
from models.progress import Progress, silent

from .datasets import Dataset
from .training_images import of_text, read_pairs, split_off, with_smaller

if TYPE_CHECKING:
    from models.deploy import SpanDeploy
    from models.training import Point, Processes
    from quantize.kernels import TrainedName
    from quantize.ptq import EffortName
    from quantize.qat import QatResult, QatSettings
    from quantize.quantized import QuantizedSpan

    from .runner import Frame
    from .training import Compile, Precision

HELD_OUT = 40
HELD_OUT_SIDE = 64
"""How many images are held out where there are enough, and how much of each is looked at, in LR pixels."""

DEFAULT_MINUTES = 60.0
LONG_CROPS, LONG_MINUTES = 10_000, 10.0
"""Budget, in crops of all steps or in time, from which on training is compiled by itself."""

SMALLER = (0.7, 0.5)
"""Sizes at which photographs are trained on beside their own, as parts of it."""

TEXT_SHARE = 0.1
"""How many pages of text there are beside photographs in all sizes, as a part of those."""

TEXT_SIDE = 64
"""Height and width of a page in LR pixels."""

LUMA_SHARE = 0.7
IMAGE_FLOOR = 0.03
"""What is added to the float network's error on an image, the middle one having 1, before it divides that of
its crops: no image counts for more than 33 times what the middle one does."""

MARGIN = 3
"""LR pixels at a crop's border that do not count: there the float network is off by more than rounding is
(mean squared error, x4, 8-bit levels: 23, 7.4, 2.9, 1.4 in the first rings; of rounding 2.6)."""


@dataclass(frozen=True, kw_only=True)
class QatOptions:
    """What a user may say of a training; None stands for the default.

    Attributes:
        steps: budget in steps.
        minutes: budget in time, 60 where neither is given.
        val: images to choose by; None to hold some of the others out.
        held_out: how many.
        trained: the folded weights or branches of Conv3XC.
        teacher_share: weight of the difference to the float network; the rest goes to the original.
        batch: crops per step.
        crop: their side in LR pixels.
        pace: factor on all step sizes.
        scales_pace: factor on those of the tensors' scales beside: text asks for wider ranges.
        smaller: sizes at which photographs are used beside their own, as parts of it.
        text: whether pages of drawn text are trained on too.
        validate_every: steps between looks at the held-out images.
        patience: looks without gain after which training ends.
        device: `auto`, `cpu` or `cuda`.
        precision: of convolutions.
        compiled: whether the training step is compiled first.
    """

    steps: int | None = None
    minutes: float | None = None
    val: Dataset | None = None
    held_out: int | None = None
    trained: "TrainedName" = "folded"
    teacher_share: float = 0.7
    batch: int = 32
    crop: int = 32
    pace: float = 0.3
    scales_pace: float = 3.0
    smaller: tuple[float, ...] = SMALLER
    text: bool = True
    validate_every: int = 250
    patience: int | None = None
    device: str = "auto"
    precision: "Precision" = "auto"
    compiled: "Compile" = "auto"

    @property
    def long(self) -> bool:
        """Whether the time that compiling takes is made up for."""
        return (self.steps or 0) * self.batch >= LONG_CROPS or (self._minutes or 0) >= LONG_MINUTES

    @property
    def _minutes(self) -> float | None:
        """The budget in time; None where it is one in steps."""
        return DEFAULT_MINUTES if self.minutes is None and self.steps is None else self.minutes

    def settings(self, *, seed: int) -> "QatSettings":
        """As training wants them.

        Raises:
            InputError: they cannot be used together.
        """
        from models.training import LossWeights, TrainingPlan
        from quantize.qat import QatSettings

        from .training import in_bfloat16, is_compiled

        loss = LossWeights(
            pixel=1 - self.teacher_share,
            distillation=self.teacher_share,
            luma_share=LUMA_SHARE,
            distance="squared",
            margin=MARGIN,
            image_floor=IMAGE_FLOOR,
        )
        plan = TrainingPlan(
            steps=self.steps,
            minutes=self._minutes,
            batch=self.batch,
            seed=seed,
            loss=loss,
            clip_norm=None,
            validate_every=self.validate_every,
            patience=self.patience,
            bfloat16=in_bfloat16(self.precision, self.device),
            compiled=is_compiled(self.compiled, self.device, long=self.long),
        )
        return QatSettings(
            plan=plan, crop=self.crop, trained=self.trained, pace=self.pace, scales_pace=self.scales_pace
        )


@dataclass(frozen=True, kw_only=True)
class QatJob:
    """One quantization-aware training.

    Attributes:
        network: the float network; left unchanged.
        source: its checkpoint, for the record.
        recipe: row of `RECIPES` with integer weights.
        data: photographs with high resolution; never those of an evaluation.
        options: how.
        start: a quantized network to start from; None to make one by PTQ.
        effort: of that PTQ.
        seed: of everything drawn at random.
    """

    network: "SpanDeploy"
    source: Source
    recipe: str
    data: Dataset
    options: QatOptions
    start: "QuantizedSpan | None" = None
    effort: "EffortName" = "fast"
    seed: int = 0


def run_qat(
    job: QatJob,
    *,
    processes: "Processes | None" = None,
    state: Path | None = None,
    on_validation: "Callable[[Point, float], None] | None" = None,
    keep: "Callable[[QuantizedSpan], None] | None" = None,
    progress: Progress = silent,
) -> "QatResult":
    """Train a network in its integers.

    Args:
        job: what and how.
        processes: those that share the training; by default as `job.options.device` says.
        state: where the unfinished training is kept, and gone on with if it is there; None to keep none.
        on_validation: told of each look at the held-out images, and of what is lost then, in dB.
        keep: given the best so far, now and then.
        progress: told of every stage.

    Raises:
        InputError: images, settings, start or state cannot be used, or training diverged.
    """
    from models.training import open_processes
    from quantize.calibration import CalibrationSet
    from quantize.qat import quantize_qat
    from quantize.start_file import start_path

    processes = processes or open_processes(job.options.device)
    progress = progress if processes.rank == 0 else silent
    settings = job.options.settings(seed=job.seed)
    data, val = split(job.data, job.options)
    training = read_pairs(data, "training images", progress=progress)
    resume = state is not None and state.is_file()
    start = _start(job, [pair.lr for pair in training], state, processes, resume=resume, progress=progress)
    calibration = CalibrationSet.of([pair.lr for pair in training], channels=job.network.config.in_channels)
    smaller, scale = job.options.smaller, job.network.config.upscale
    training = with_smaller(
        training, smaller, scale=scale, least=settings.crop, stage="smaller images", progress=progress
    )
    if job.options.text:
        training += of_text(
            job.network,
            2 * math.ceil(TEXT_SHARE * len(training)),
            side=TEXT_SIDE,
            seed=job.seed,
            stage="pages of text",
            progress=progress,
        )
    held_out = read_pairs(val, "held-out images", most=HELD_OUT_SIDE, progress=progress)
    held_out = with_smaller(held_out, smaller, scale=scale, least=16, stage="smaller held-out images")
    provenance = replace(
        start.provenance,
        source_name=job.source.name,
        source_sha256=job.source.sha256,
        seed=job.seed,
        images=len(data),
        images_sha256=calibration.sha256,
    )
    result = quantize_qat(
        job.network,
        start,
        training=training,
        held_out=held_out,
        settings=settings,
        provenance=provenance,
        identity={
            "data": data.sha256,
            "held out": val.sha256,
            "smaller": list(smaller),
            "text": job.options.text,
            "source": job.source.sha256,
        },
        state_path=state,
        resume=resume,
        processes=processes,
        on_validation=on_validation,
        keep=None if keep is None else lambda so_far: keep(so_far.quantized),
        progress=progress,
    )
    if state is not None and result.training.ended != "interrupted" and processes.rank == 0:
        for file in (state, start_path(state)):
            file.unlink(missing_ok=True)
    return result


def split(data: Dataset, options: QatOptions) -> tuple[Dataset, Dataset]:
    """The images to train on and those to choose by: the last of each of as many runs of images.

    Neighbours in a folder are often of one scene, so that the middle of a run has more relatives beside it.

    Raises:
        InputError: too few are left.
    """
    if options.val is not None:
        return data, options.val
    count = len(data)
    held_out = options.held_out or max(1, min(HELD_OUT, count // 3))
    if held_out >= count:
        raise InputError(
            f"cannot hold out {held_out} of {count} images; hold out at least 1 and leave some, "
            "or give a folder of others with --val"
        )
    return split_off(data, {(k + 1) * count // held_out - 1 for k in range(held_out)})


def _start(
    job: QatJob,
    frames: "list[Frame]",
    state: Path | None,
    processes: "Processes",
    *,
    resume: bool,
    progress: Progress,
) -> "QuantizedSpan":
    """The quantized network to start from: as it was if this is resumed, as given, or made by PTQ.

    Of several processes the first makes it and the others read it.
    """
    import torch

    from quantize import load_quantized, quantize_ptq
    from quantize.start_file import start_path

    if state is not None and resume:
        return load_quantized(start_path(state))
    start = job.start
    if processes.world > 1 and state is None:
        raise InputError("several processes need a file to share a state in; use span-edge quantize")
    if start is None and processes.rank == 0:
        start = quantize_ptq(
            job.network,
            recipe=job.recipe,
            images=frames,
            effort=job.effort,
            seed=job.seed,
            source_name=job.source.name,
            source_sha256=job.source.sha256,
            progress=progress,
        )
    if state is None:
        assert start is not None
        return start
    if processes.rank == 0 and start is not None:
        start.save(start_path(state), overwrite=True)
    processes.sum(torch.zeros(1, device=processes.device))
    return load_quantized(start_path(state))
