"""From a folder of photographs to a trained checkpoint: what `span-edge train` does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from models.errors import InputError
from models.files import refuse_existing
from models.progress import Progress, silent

from .datasets import Dataset, open_dataset
from .training_images import read_pairs, split_off

if TYPE_CHECKING:
    import torch

    from models import SpanConfig
    from models.training import (
        LossWeights,
        Point,
        Processes,
        TrainingPair,
        TrainingPlan,
        TrainingResult,
    )

Precision = Literal["auto", "float32", "bfloat16"]
Compile = Literal["auto", "on", "off"]

PUBLISHED_IMG_RANGE = 255.0
"""Checkpoints are written for this factor, which the published code has built in; training runs at 1."""

SAMPLE_CROPS = 8
TRAINING_STATE = ".training.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One training from scratch.

    Attributes:
        data: folder of high-resolution training images.
        val: folder of held-out images; None to hold out `held_out` of `data`.
        held_out: how many images of `data` are kept for validation, evenly spread over the sorted names.
        scale: pixels out per pixel in, along each side.
        channels: feature channels, and those of `conv_cat`.
        crop: side of a crop in LR pixels.
        lr: Adam's step size.
        teacher: checkpoint whose outputs are learnt from.
        plan: budget, batch, loss, schedule.
        out: .safetensors file of the result; the unfinished state is beside it.
        command: the command line, for the record.
    """

    data: Path
    val: Path | None
    held_out: int
    scale: int
    channels: int
    crop: int
    lr: float
    teacher: Path | None
    plan: "TrainingPlan"
    out: Path
    command: str = ""

    @property
    def state_path(self) -> Path:
        """Where the unfinished training is."""
        return self.out.with_name(self.out.stem + TRAINING_STATE)


def run_training(
    job: TrainingJob,
    processes: "Processes",
    *,
    resume: bool = False,
    overwrite: bool = False,
    on_validation: "Callable[[Point], None] | None" = None,
    progress: Progress = silent,
) -> "TrainingResult":
    """Train a network and write its checkpoint; the best so far is written whenever the state is saved.

    The first of the processes writes and tells.

    Raises:
        InputError: images, teacher, settings or files cannot be used, or training diverged.
    """
    from models.training import CropSource, FoldedSpan, ParameterGroup, initialize, train

    _refuse_files(job, resume=resume, overwrite=overwrite)
    progress = progress if processes.rank == 0 else silent
    images = _images(job, processes, progress)
    crops = CropSource(images.training, scale=job.scale, crop=job.crop, device=processes.device)
    sample = crops.batch(size=SAMPLE_CROPS, seed=job.plan.seed, step=0).lr.cpu()
    network = FoldedSpan(initialize(_config(job), seed=job.plan.seed, sample=sample))
    names = tuple(name for name, _ in network.named_parameters())

    def keep(result: "TrainingResult") -> None:
        _write(job, result, images, processes)

    result = train(
        network,
        groups=[ParameterGroup(names=names, lr=job.lr)],
        crops=crops,
        validation=images.held_out,
        plan=job.plan,
        identity=images.identity,
        state_path=job.state_path,
        resume=resume,
        processes=processes,
        on_validation=on_validation,
        keep=keep,
        progress=progress,
    )
    if processes.rank == 0:
        keep(result)
    return result


def in_bfloat16(precision: Precision, device: str) -> bool:
    """Whether convolutions run in bfloat16: for `auto`, where the GPU or the CPU has instructions for it."""
    if precision != "auto":
        return precision == "bfloat16"
    import torch

    from models.training import device_type

    if device_type(device) == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def is_compiled(asked: Compile, device: str, *, long: bool) -> bool:
    """Whether a training is compiled first: for `auto`, a long one on a CPU where there is a compiler.

    Raises:
        InputError: `on`, and nothing can be compiled here.
    """
    from models.training import device_type, why_not_compiled

    runs_on = device_type(device)
    if asked == "off" or (asked == "auto" and (runs_on == "cuda" or not long)):
        return False
    why_not = why_not_compiled(runs_on)
    if why_not is not None and asked == "on":
        raise InputError(
            f"training cannot be compiled here: {why_not}; "
            "install a C++ compiler (g++, clang++), or give --compile off"
        )
    return why_not is None


@dataclass(frozen=True, kw_only=True)
class _Images:
    """What is trained and validated on.

    Attributes:
        training: with a teacher's outputs, if there is one.
        held_out: for validation.
        identity: hashes of both and of the teacher, and the scale.
        told: both in words.
    """

    training: "tuple[TrainingPair, ...]"
    held_out: "tuple[TrainingPair, ...]"
    identity: Mapping[str, str | int]
    told: tuple[str, str]


def _refuse_files(job: TrainingJob, *, resume: bool, overwrite: bool) -> None:
    if job.out.suffix != ".safetensors":
        raise InputError(f"cannot save a checkpoint as {job.out.name}; give a name that ends in .safetensors")
    if resume and not job.state_path.is_file():
        raise InputError(f"there is no {job.state_path} to resume from; leave --resume out to begin")
    if resume:
        return
    refuse_existing(job.out, overwrite=overwrite)
    if job.state_path.exists() and not overwrite:
        raise InputError(
            f"{job.state_path} is the state of an unfinished training; give --resume to go on with it, "
            "--overwrite to begin again, or another --out"
        )


def _images(job: TrainingJob, processes: "Processes", progress: Progress) -> _Images:
    sets = _split(job)
    training = read_pairs(sets[0], "training images", progress=progress)
    held_out = read_pairs(sets[1], "held-out images", progress=progress)
    identity: dict[str, str | int] = {
        "data": sets[0].sha256,
        "held out": sets[1].sha256,
        "scale": job.scale,
    }
    if job.teacher is not None:
        training, identity["teacher"] = _taught(job, job.teacher, training, processes.device, progress)
    told, told_held_out = (f"{one.name}: {len(one)} images, sha256 {one.sha256}" for one in sets)
    return _Images(training=training, held_out=held_out, identity=identity, told=(told, told_held_out))


def _split(job: TrainingJob) -> tuple[Dataset, Dataset]:
    """The images to train on and those held out."""
    dataset = open_dataset(job.data, scale=job.scale)
    if job.val is not None:
        return dataset, open_dataset(job.val, scale=job.scale)
    count = len(dataset)
    if not 0 < job.held_out < count:
        raise InputError(
            f"cannot hold out {job.held_out} of the {count} images in {job.data}; hold out at least 1 and "
            "leave some, or give a folder for validation with --val"
        )
    return split_off(dataset, {k * count // job.held_out for k in range(job.held_out)})


def _taught(
    job: TrainingJob,
    teacher: Path,
    pairs: "tuple[TrainingPair, ...]",
    device: "torch.device",
    progress: Progress,
) -> "tuple[tuple[TrainingPair, ...], str]":
    """The pairs with the teacher's outputs, and the teacher's hash."""
    from models import load_checkpoint, reparameterize
    from models.training import with_teacher

    loaded = load_checkpoint(teacher)
    if loaded.config.upscale != job.scale or loaded.config.in_channels != 3:
        raise InputError(
            f"{teacher} upscales {loaded.config.in_channels} channels {loaded.config.upscale} times and "
            f"cannot teach a network that upscales RGB {job.scale} times; give a teacher of that scale"
        )
    network = reparameterize(loaded.network).to(device)
    return with_teacher(pairs, network, device=device, progress=progress), loaded.sha256


def _config(job: TrainingJob) -> "SpanConfig":
    from models import SpanConfig

    return SpanConfig(
        feature_channels=job.channels, concat_channels=job.channels, upscale=job.scale, img_range=1.0
    )


def _write(job: TrainingJob, result: "TrainingResult", images: _Images, processes: "Processes") -> None:
    """Write the best so far in training form, with where it comes from."""
    import torch

    from models import save_checkpoint
    from models.training import FoldedSpan, with_img_range

    network = result.network
    assert isinstance(network, FoldedSpan)
    best = result.best
    metadata = {
        "training_data": images.told[0],
        "held_out": images.told[1],
        "held_out_psnr_y_db": "not measured" if best is None else f"{best.psnr_y_db:.3f}",
        "best_step": str(result.steps if best is None else best.step),
        "steps": str(result.steps),
        "hours": f"{result.seconds / 3600:.2f} on {processes.world} x {processes.device.type}",
        "ended": result.ended,
        "seed": str(job.plan.seed),
        "teacher": "none"
        if job.teacher is None
        else f"{job.teacher.name}, sha256 {images.identity['teacher']}",
        "loss": _loss_text(job.plan.loss),
        "command": job.command,
        "torch": torch.__version__,
    }
    save_checkpoint(with_img_range(network.span, PUBLISHED_IMG_RANGE), job.out, metadata, overwrite=True)


def _loss_text(loss: "LossWeights") -> str:
    """The terms that count, with their factors."""
    terms = {
        "difference to the original": loss.pixel,
        "difference to the teacher": loss.distillation,
        "difference between spectra": loss.frequency,
    }
    return ", ".join(f"{factor:g} x {name}" for name, factor in terms.items() if factor)
