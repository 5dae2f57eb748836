"""The training loop."""

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..progress import Progress, silent
from .compilation import compilation_errors, compiled, reason
from .crops import CropSource, TrainingPair
from .interruption import StopWish, stop_wish
from .loss import training_loss
from .parallel import Alone, Processes
from .plan import Ended, ParameterGroup, Point, TrainingPlan, TrainingResult, step_size_factor
from .state import SavedState, copied, load_state, save_state
from .validation import total_psnr_y_db

BeforeStep = Callable[[nn.Module, float], None]
"""Called with a network and the part (0 to 1) of the budget that is spent."""

CHECK_EVERY = {"cpu": 1}
"""Steps between looks at whether the numbers are still finite; a look makes a GPU wait."""
CHECK_EVERY_ELSEWHERE = 20

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def train(
    network: nn.Module,
    *,
    groups: Sequence[ParameterGroup],
    crops: CropSource,
    validation: Sequence[TrainingPair],
    plan: TrainingPlan,
    identity: Mapping[str, Any] | None = None,
    state_path: Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
    before_step: BeforeStep | None = None,
    on_validation: Callable[[Point], None] | None = None,
    keep: Callable[[TrainingResult], None] | None = None,
    progress: Progress = silent,
) -> TrainingResult:
    """Train `network` with Adam and give back the averaged weights that were best on held-out images.

    With `plan.steps`, an interrupted and resumed training ends where an uninterrupted one does: to the bit
    on a CPU with the same number of threads. The network must not draw random numbers of its own.

    The first SIGINT (Ctrl-C) or SIGTERM ends training after the step at hand, with the state saved.

    Args:
        network: (N, C, H, W) in [0, 1] -> (N, C, s*H, s*W), unclipped. Trained in place.
        groups: what is trained, with which step sizes.
        crops: where training crops come from.
        validation: held-out images.
        plan: budget, batch, loss, schedule.
        identity: JSON-ready facts that decide the result beside plan, groups and shapes (hash of the
            images, teacher); a state of another identity is refused.
        state_path: .safetensors file of the unfinished state; None to save none.
        resume: go on from `state_path`.
        processes: those that share the training; by default this one alone, on the CPU.
        before_step: called before each step for the network and for its average (to freeze ranges late, say).
        on_validation: told of each validation, in the first process.
        keep: given the best so far whenever the state is saved and there is a better one, in the first
            process.
        progress: told about once a second, in the first process.

    Raises:
        InputError: loss or gradient became NaN or infinite, the state to resume from is absent, damaged or
            another's, it cannot be written, or the network cannot be compiled.
        ValueError: `groups` name a parameter that does not exist or name one twice.
    """
    if not validation:
        raise InputError("there is no image to validate on; hold out at least one")
    if 2 * plan.loss.margin >= crops.crop:
        raise InputError(
            f"nothing is left of crops of {crops.crop} LR pixels with a margin of {plan.loss.margin} that "
            f"does not count; give crops of at least {2 * plan.loss.margin + 1}"
        )
    run = _Run(
        network,
        groups,
        crops=crops,
        validation=validation,
        plan=plan,
        processes=processes or Alone(torch.device("cpu")),
        state_path=state_path,
        listeners=_Listeners(
            before_step=before_step, on_validation=on_validation, keep=keep, progress=progress
        ),
    )
    run.identity |= identity or {}
    if resume:
        run.load()
    with stop_wish() as wish:
        return run.until_the_end(wish)


@dataclass(frozen=True, kw_only=True)
class _Listeners:
    """Who is called on the way; see `train`."""

    before_step: BeforeStep | None
    on_validation: Callable[[Point], None] | None
    keep: Callable[[TrainingResult], None] | None
    progress: Progress


class _Run:
    """One training: what changes from step to step."""

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[ParameterGroup],
        *,
        crops: CropSource,
        validation: Sequence[TrainingPair],
        plan: TrainingPlan,
        processes: Processes,
        state_path: Path | None,
        listeners: _Listeners,
    ) -> None:
        self.plan, self.crops, self.validation, self.processes = plan, crops, validation, processes
        self.listeners, self.state_path = listeners, state_path
        self.wrapped = processes.prepare(compiled(network) if plan.compiled else network)
        self.network = network
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.trained = _resolved(network, groups)
        self.groups = tuple(groups)
        self.optimizer = torch.optim.Adam(
            [{"params": [self.trained[name] for name in group.names], "lr": group.lr} for group in groups],
            betas=plan.betas,
            fused=True,
        )
        self.identity: dict[str, Any] = {
            **plan.to_json(),
            "crop": crops.crop,
            "groups": [[group.lr, group.until, *group.names] for group in groups],
            "shapes": {name: list(tensor.shape) for name, tensor in network.state_dict().items()},
            "processes": processes.world,
        }
        self.step, self.seconds = 0, 0.0
        self.curve: list[Point] = []
        self.best: Point | None = None
        self.kept: Point | None = None
        self.best_tensors: dict[str, Tensor] = {}
        self.losses = torch.zeros((), dtype=torch.float64, device=processes.device)
        self.since = 0

    def until_the_end(self, wish: StopWish) -> TrainingResult:
        """Train until the budget is spent, the user wants to stop, or nothing is gained any more."""
        self._started = time.monotonic() - self.seconds
        self._saved = self._shown = time.monotonic()
        if self.plan.validate_first and not self.curve and not self.step:
            self._validate()
        ended: Ended | None = None
        while ended is None:
            done, stop = self._agreed(wish)
            ended = "finished" if done >= 1 else "interrupted" if stop else None
            if ended is None:
                try:
                    self._one_step(done)
                except self._compilation_errors() as error:
                    self._refuse_to_compile(error, wish)
                    continue
                if self.step % self.plan.validate_every == 0:
                    self._validate()
                    ended = "no gain" if self._gains_nothing() else None
                self._save_now_and_then()
                self._show(done)
        if ended != "interrupted" and (not self.curve or self.curve[-1].step < self.step):
            self._validate()
        self._save()
        if self.processes.rank == 0:
            total = self.plan.steps or self.step
            self.listeners.progress("training", total if ended != "interrupted" else self.step, total, ended)
        return self._result(ended)

    def _one_step(self, done: float) -> None:
        plan, device = self.plan, self.processes.device
        if self.listeners.before_step is not None:
            self.listeners.before_step(self.network, done)
            self.listeners.before_step(self.average, done)
        factor = step_size_factor(plan, done)
        for adam, group in zip(self.optimizer.param_groups, self.groups, strict=True):
            adam["lr"] = group.lr * factor if done < group.until else 0.0
        batch = self.crops.batch(
            size=plan.batch,
            seed=plan.seed,
            step=self.step,
            rank=self.processes.rank,
            world=self.processes.world,
        )
        self.network.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=plan.bfloat16):
            upscaled = self.wrapped(batch.lr)
        loss = training_loss(upscaled, batch, plan.loss)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = self._clipped()
        self.optimizer.step()
        self.step += 1
        self.since += 1
        self._average()
        self.losses += loss.detach() + 0 * norm.detach()
        if self.step % CHECK_EVERY.get(device.type, CHECK_EVERY_ELSEWHERE) == 0:
            self._refuse_nan()

    def _compilation_errors(self) -> tuple[type[Exception], ...]:
        """What a step may end with where it is compiled, beside what ends any."""
        return compilation_errors() if self.plan.compiled else ()

    def _refuse_to_compile(self, error: Exception, wish: StopWish) -> None:
        """Nothing is wrong where Ctrl-C reached the compiler too."""
        if not wish.heard:
            raise InputError(
                f"the training step cannot be compiled here: {reason(error)}; "
                "train without that (--compile off)"
            ) from error

    def _clipped(self) -> Tensor:
        """The gradient's norm over all parameters, before it is clipped."""
        parameters = [parameter for parameter in self.trained.values() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(
            [parameter.grad for parameter in parameters if parameter.grad is not None]
        )
        if self.plan.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.plan.clip_norm, norm)
        return norm

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.plan.ema_decay, (1 + self.step) / (10 + self.step))
        means: list[Tensor] = list(self.average.parameters())
        values: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(means, values, 1 - decay)
        for mean, value in zip(self.average.buffers(), self.network.buffers(), strict=True):
            mean.copy_(value)

    def _refuse_nan(self) -> None:
        """Stop where the numbers are no longer finite; the best until then is handed out first."""
        if bool(torch.isfinite(self.losses)):
            return
        kept = ""
        if self.best is not None and self.listeners.keep is not None:
            kept = f"; the best until then ({self.best.psnr_y_db:.2f} dB at step {self.best.step}) was kept"
            self._hand_out("diverged")
        sizes = ", ".join(f"{size:g}" for size in sorted({group.lr for group in self.groups}))
        raise InputError(
            f"training diverged: loss or gradient is NaN or infinite at step {self.step} "
            f"(learning rate {sizes}); begin again with a lower one{kept}"
        )

    def _hand_out(self, ended: Ended) -> None:
        """Give away the best so far, if it is better than what was given before."""
        keep = self.listeners.keep
        if keep is not None and self.best is not self.kept and self.processes.rank == 0:
            keep(self._result(ended))
            self.kept = self.best

    def _validate(self) -> None:
        self._refuse_nan()
        rank, world, device = self.processes.rank, self.processes.world, self.processes.device
        share = self.validation[rank::world]
        total = self.processes.sum(
            total_psnr_y_db(self.average, share, scale=self.crops.scale, device=device)
        )
        losses = self.processes.sum(self.losses)
        point = Point(
            step=self.step,
            seconds=round(time.monotonic() - self._started, 1),
            loss=float(losses) / (self.since * world) if self.since else 0.0,
            psnr_y_db=float(total) / len(self.validation),
        )
        self.losses.zero_()
        self.since = 0
        self.curve.append(point)
        if self.best is None or point.psnr_y_db > self.best.psnr_y_db:
            self.best, self.best_tensors = point, copied(self.average.state_dict())
        if self.listeners.on_validation is not None and rank == 0:
            self.listeners.on_validation(point)

    def _gains_nothing(self) -> bool:
        if self.plan.patience is None or self.best is None:
            return False
        return len(self.curve) - 1 - self.curve.index(self.best) >= self.plan.patience

    def _agreed(self, wish: StopWish) -> tuple[float, bool]:
        """The part of the budget that is spent, and whether to stop; the same in all processes."""
        now = time.monotonic() - self._started
        done = self.step / self.plan.steps if self.plan.steps else now / (60 * (self.plan.minutes or 1))
        if self.processes.world == 1:
            return done, wish.heard
        device = self.processes.device
        first = self.processes.from_first(torch.tensor([done], dtype=torch.float64, device=device))
        wishes = self.processes.sum(torch.tensor([float(wish.heard)], device=device))
        return float(first), bool(wishes > 0)

    def _show(self, done: float) -> None:
        now = time.monotonic()
        if self.processes.rank or now - self._shown < 1:
            return
        self._shown = now
        done = min(1.0, max(done, 1e-9))
        left = (now - self._started) * (1 - done) / done
        psnr = f", {self.curve[-1].psnr_y_db:.2f} dB" if self.curve else ""
        loss = f"loss {float(self.losses) / self.since:.4f}" if self.since else ""
        total = self.plan.steps or round(self.step / done)
        self.listeners.progress(
            "training", self.step, max(total, self.step + 1), f"{loss}{psnr}, {_duration(left)} left"
        )

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved >= 60 * self.plan.checkpoint_minutes:
            self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.state_path is None or self.processes.rank:
            return
        self._refuse_nan()
        self._hand_out("under way")
        moments = {
            moment: {
                name: self.optimizer.state[p][moment]
                for name, p in self.trained.items()
                if p in self.optimizer.state
            }
            for moment in MOMENTS
        }
        record = {
            "step": self.step,
            "seconds": time.monotonic() - self._started,
            "curve": [asdict(point) for point in self.curve],
            "best": None if self.best is None else self.curve.index(self.best),
            "since": self.since,
        }
        parts: dict[str, Mapping[str, Tensor]] = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "best": self.best_tensors,
            "meter": {"losses": self.losses},
            **moments,
        }
        save_state(SavedState(identity=self.identity, record=record, tensors=parts), self.state_path)

    def load(self) -> None:
        """Go back to where the state file was written."""
        if self.state_path is None:
            raise ValueError("resume needs a state_path")
        saved = load_state(self.state_path, self.identity)
        device = self.processes.device
        self.network.load_state_dict(saved.tensors["network"])
        self.average.load_state_dict(saved.tensors["average"])
        self.best_tensors = {
            name: tensor.to(device) for name, tensor in saved.tensors.get("best", {}).items()
        }
        for name, parameter in self.trained.items():
            if name in saved.tensors.get("step", {}):
                self.optimizer.state[parameter] = {m: saved.tensors[m][name].to(device) for m in MOMENTS}
        self.losses.copy_(saved.tensors["meter"]["losses"])
        record = saved.record
        self.step, self.seconds, self.since = record["step"], record["seconds"], record["since"]
        self.curve = [Point.from_json(point) for point in record["curve"]]
        self.best = self.kept = None if record["best"] is None else self.curve[record["best"]]

    def _result(self, ended: Ended) -> TrainingResult:
        chosen = copy.deepcopy(self.average)
        if self.best_tensors:
            chosen.load_state_dict(self.best_tensors)
        return TrainingResult(
            network=chosen.cpu(),
            best=self.best,
            steps=self.step,
            seconds=time.monotonic() - self._started,
            curve=tuple(self.curve),
            ended=ended,
        )


def _resolved(network: nn.Module, groups: Sequence[ParameterGroup]) -> dict[str, nn.Parameter]:
    """The parameters to train, by name."""
    known = dict(network.named_parameters())
    names = [name for group in groups for name in group.names]
    wrong = sorted({name for name in names if name not in known or names.count(name) > 1})
    if wrong:
        raise ValueError(f"no such parameter, or named twice: {', '.join(wrong)}")
    return {name: known[name] for name in names}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else f"{minutes} min"
        if minutes
        else f"{seconds:.0f} s"
    )
