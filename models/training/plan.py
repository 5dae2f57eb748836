"""What a training is asked to do, and what came of it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from torch import nn

from ..errors import InputError
from .loss import LossWeights

Ended = Literal["finished", "interrupted", "no gain", "diverged", "under way"]


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Parameters that are trained with one step size.

    Attributes:
        names: as in `network.named_parameters()`; a parameter in no group is not trained.
        lr: Adam's step size at the top of the schedule.
        until: part of the budget after which they stay as they are (ranges are frozen late).
    """

    names: tuple[str, ...]
    lr: float
    until: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that decides a training's result beside the network, its groups and the images.

    Attributes:
        steps: optimizer steps; None where `minutes` is given. A result is repeatable only with `steps`.
        minutes: time for training, all runs of a resumed training together; the schedule follows the clock.
        batch: crops per step over all processes.
        seed: decides the crops.
        loss: factors of the terms.
        warm_up: part of the budget during which step sizes grow linearly from 0.
        floor: factor on step sizes at the end of the cosine.
        betas: of Adam.
        clip_norm: largest norm of the gradient over all parameters; None not to clip.
        ema_decay: of the exponential moving average of the weights, smaller in the first steps:
            min(ema_decay, (1 + step) / (10 + step)).
        bfloat16: whether convolutions run in bfloat16 (autocast); parameters, fold and loss stay in float32.
        compiled: whether the network is compiled when training starts: a minute or two, then shorter steps.
        validate_every: steps between validations.
        validate_first: whether the network is validated before the first step too, so that training gives
            back nothing worse on the held-out images than what it was given.
        patience: validations without a new best after which training ends; None never to end early.
        checkpoint_minutes: time between saved states.
    """

    steps: int | None = None
    minutes: float | None = None
    batch: int = 16
    seed: int = 0
    loss: LossWeights = field(default_factory=LossWeights)
    warm_up: float = 0.02
    floor: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip_norm: float | None = 1.0
    ema_decay: float = 0.999
    bfloat16: bool = False
    compiled: bool = False
    validate_every: int = 250
    validate_first: bool = False
    patience: int | None = None
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        """Refuse what cannot be done.

        Raises:
            InputError: neither or both of `steps` and `minutes`, or a number out of its range.
        """
        if (self.steps is None) == (self.minutes is None):
            raise InputError(
                "a training needs either a number of steps or a number of minutes; give one of the two"
            )
        positive = (
            "steps",
            "minutes",
            "batch",
            "clip_norm",
            "validate_every",
            "patience",
            "checkpoint_minutes",
        )
        wrong = [name for name in positive if not _positive(getattr(self, name))]
        wrong += [name for name in ("warm_up", "floor", "ema_decay") if not 0 <= getattr(self, name) < 1]
        if wrong:
            raise InputError(
                "cannot train with "
                + ", ".join(f"{name} {getattr(self, name)}" for name in wrong)
                + f"; {', '.join(positive)} are positive, warm_up, floor and ema_decay from 0 to below 1"
            )

    def to_json(self) -> dict[str, Any]:
        """What has to be the same in a resumed training, as JSON-ready data.

        The number of minutes may be another, so that a training can be given more time or brought to its end.
        """
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "checkpoint_minutes"} | {
            "loss": asdict(self.loss),
            "betas": list(self.betas),
            "minutes": self.minutes is not None,
        }


def step_size_factor(plan: TrainingPlan, done: float) -> float:
    """The factor on all step sizes once the part `done` (0 to 1) of the budget is spent.

    It grows linearly from 0 to 1 during warm-up, then falls along half a cosine to `plan.floor`.
    """
    if done < plan.warm_up:
        return done / plan.warm_up
    along = min(1.0, (done - plan.warm_up) / (1 - plan.warm_up))
    return plan.floor + (1 - plan.floor) * 0.5 * (1 + math.cos(math.pi * along))


@dataclass(frozen=True, kw_only=True)
class Point:
    """One validation.

    Attributes:
        step: steps done.
        seconds: time spent in training so far, all runs together.
        loss: mean training loss since the last validation.
        psnr_y_db: of the averaged weights on the held-out images.
    """

    step: int
    seconds: float
    loss: float
    psnr_y_db: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Point":
        """The point that `dataclasses.asdict` gave."""
        return cls(step=data["step"], seconds=data["seconds"], loss=data["loss"], psnr_y_db=data["psnr_y_db"])


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What came of a training.

    Attributes:
        network: a copy of the network with the best averaged weights, in eval mode.
        best: the validation that chose them; None where training was interrupted before the first.
        steps: steps done.
        seconds: time spent in training, all runs together.
        curve: every validation.
        ended: why it ended, or that it has not.
    """

    network: nn.Module
    best: Point | None
    steps: int
    seconds: float
    curve: tuple[Point, ...]
    ended: Ended


def _positive(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value > 0)
