"""Quantization-aware training: a quantized network goes on learning in the arithmetic of its files.

It starts where post-training quantization ends: rewritten, balanced, its weights rounded with compensation.
Then weights, biases and scales follow the gradient of the difference to the originals and to the float
network's own output, through `models.training`. Nothing is given back that is worse on held-out images than
the start.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from models import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent
from models.training import (
    CropSource,
    ParameterGroup,
    Point,
    Processes,
    TrainingPair,
    TrainingPlan,
    TrainingResult,
    total_psnr_y_db,
    train,
    with_teacher,
)

from .kernels import TrainedName
from .ptq import Start
from .quantized import Provenance, QuantizedSpan
from .recipe import recipe_named
from .trainable import TrainableSpan

STEP_SIZES = {"kernels": 0.02, "biases": 0.003, "log_weight_scales": 1e-4, "log_scales": 1e-4}
"""Adam's step sizes by parameter: integer steps, integer steps of the output, and logarithms."""

BRANCH_STEP = 0.1
"""Factor on the kernels' step size where branches are trained: several of them move one weight."""

FROZEN_AFTER = 0.8
"""Part of the budget after which the scales stay as they are."""


@dataclass(frozen=True, kw_only=True)
class QatSettings:
    """How a quantized network is trained.

    Attributes:
        plan: budget, batch, loss, schedule.
        crop: side of a crop in LR pixels.
        trained: the folded weights, or branches of Conv3XC that are folded on every step.
        pace: factor on all step sizes.
        scales_pace: factor on those of the tensors' scales beside.
        turned: whether crops are turned and mirrored at random.
    """

    plan: TrainingPlan
    crop: int = 32
    trained: TrainedName = "folded"
    pace: float = 1.0
    scales_pace: float = 1.0
    turned: bool = True


@dataclass(frozen=True, kw_only=True)
class QatResult:
    """What came of it.

    Attributes:
        quantized: the best on the held-out images; the start itself where nothing was better.
        training: curve, steps, time, and why it ended.
        float_psnr_y_db: mean PSNR-Y of the float network on the held-out images.
    """

    quantized: QuantizedSpan
    training: TrainingResult
    float_psnr_y_db: float

    @property
    def gained_db(self) -> float:
        """How much better it is than the start, on the held-out images, PSNR-Y."""
        best, first = self.training.best, self.training.curve[:1]
        return best.psnr_y_db - first[0].psnr_y_db if best is not None and first else 0.0

    @property
    def drop_db(self) -> float | None:
        """What it loses against the float network on the held-out images; None where nothing was measured."""
        best = self.training.best
        return None if best is None else self.float_psnr_y_db - best.psnr_y_db


def quantize_qat(
    network: SpanDeploy,
    start: QuantizedSpan,
    *,
    training: Sequence[TrainingPair],
    held_out: Sequence[TrainingPair],
    settings: QatSettings,
    provenance: Provenance | None = None,
    identity: Mapping[str, Any] | None = None,
    state_path: Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
    on_validation: Callable[[Point, float], None] | None = None,
    keep: Callable[[QatResult], None] | None = None,
    progress: Progress = silent,
) -> QatResult:
    """Train a quantized network.

    Args:
        network: the float network that teaches; left unchanged.
        start: what was made of it by PTQ or QAT; left unchanged.
        training: images, of which crops are drawn; teachers' outputs are added where the loss wants them.
        held_out: images that choose the best; never those of an evaluation.
        settings: how.
        provenance: for the record; by default the start's, with the steps done added.
        identity: as in `models.training.train`.
        state_path: as in `models.training.train`.
        resume: as in `models.training.train`.
        processes: as in `models.training.train`.
        on_validation: told of each validation, the first of them that of the start, and of what is lost
            against the float network then, in dB.
        keep: given the best so far whenever there is a better one and the state is saved.
        progress: told of what is being done.

    Raises:
        InputError: the start is of another network, an image cannot be used, or training cannot go on.
    """
    if unlike := network.config.unlike(start.config):
        raise InputError(
            f"the quantized network to start from is not one of this float network ({unlike}); "
            "give the checkpoint it was made from"
        )
    if not held_out:
        raise InputError("there is no image to validate on; hold out at least one")
    device, scale = processes.device if processes else torch.device("cpu"), start.config.upscale
    teacher = copy.deepcopy(network).to(device)
    if settings.plan.loss.distillation or settings.plan.loss.image_floor is not None:
        training = with_teacher(training, teacher, device=device, progress=progress)
    trainable = trainable_from(start, trained=settings.trained, seed=settings.plan.seed)
    crops = CropSource(training, scale=scale, crop=settings.crop, turned=settings.turned, device=device)
    total = total_psnr_y_db(teacher, held_out, scale=scale, device=device)
    float_psnr_y_db = float(total) / len(held_out)

    def result(of: TrainingResult) -> QatResult:
        made = _made(of, start, provenance or start.provenance)
        return QatResult(quantized=made, training=of, float_psnr_y_db=float_psnr_y_db)

    def told(point: Point) -> None:
        if on_validation is not None:
            on_validation(point, float_psnr_y_db - point.psnr_y_db)

    done = train(
        trainable,
        groups=parameter_groups(trainable, settings),
        crops=crops,
        validation=held_out,
        plan=replace(settings.plan, validate_first=True),
        identity={"trained": settings.trained, **(identity or {})},
        state_path=state_path,
        resume=resume,
        processes=processes,
        on_validation=told,
        keep=None if keep is None else lambda of: keep(result(of)),
        progress=progress,
    )
    return result(done)


def trainable_from(start: QuantizedSpan, *, trained: TrainedName = "folded", seed: int = 0) -> TrainableSpan:
    """A quantized network as parameters, in the state that computes what it computes."""
    parts = Start(
        nodes=start.network,
        weights=dict(start.weights),
        activations=dict(start.activations),
        float_nodes=start.float_nodes,
    )
    return TrainableSpan(parts, recipe_named(start.recipe), trained=trained, seed=seed)


def parameter_groups(trainable: TrainableSpan, settings: QatSettings) -> list[ParameterGroup]:
    """Every parameter with the step size of its kind; scales are frozen late."""
    groups = []
    for kind, size in STEP_SIZES.items():
        named = trainable.named_parameters()
        names = tuple(name for name, p in named if name.partition(".")[0] == kind and p.requires_grad)
        branches = kind == "kernels" and settings.trained == "branches"
        lr = size * settings.pace * (BRANCH_STEP if branches else 1.0)
        lr *= settings.scales_pace if kind == "log_scales" else 1.0
        until = FROZEN_AFTER if kind.startswith("log_") else 1.0
        if names:
            groups.append(ParameterGroup(names=names, lr=lr, until=until))
    return groups


def _made(of: TrainingResult, start: QuantizedSpan, provenance: Provenance) -> QuantizedSpan:
    """The integers of the best weights; the start where that is what is best, or nothing was measured."""
    if of.best is None or of.best.step == 0:
        return start
    assert isinstance(of.network, TrainableSpan)
    return of.network.quantized(replace(provenance, steps=provenance.steps + of.best.step))
