"""Learning from rounded tensors: what brings the integer network nearest to the float one.

No labels: the float network's own output on calibration crops is the aim. Every tensor is rounded as the
integer kernels round it; gradients pass rounding unchanged (the straight-through estimator), scales get the
gradient of Esser et al., "Learned step size quantization" (arXiv:1902.08153). Layers differ in weight scale
by 45 times, so weights are learned in units of their channel's integer step, and scales as logarithms: one
step size then fits all. Weights are not rounded meanwhile: they leave the integers where learning starts, and
are rounded at the end with compensation (`rounding.resettled`), which costs little; a weight that had to
cross half an integer step before anything changed would learn late, and all of them at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.progress import Progress, silent

from .graph import SpanNodes, key
from .quantized import QParams, QWeight
from .ranges import LUMA, LUMA_SHARE
from .rounding import LIMIT

WEIGHT_STEP = 0.003
"""Adam's step for weights, in integer steps."""

BIAS_STEP = 0.001
"""Adam's step for biases, in integer steps of the output."""

SCALE_STEP = 1e-5
"""Adam's step for logarithms of scales."""

BETAS = (0.9, 0.98)
"""Adam's memories; short, since there are few steps."""


class _Rounded(torch.autograd.Function):
    """value -> clamp(round(value / scale), low, high) * scale, with the LSQ gradient for the scale."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        ratio = value / scale
        inside = (ratio > low - 0.5) & (ratio < high + 0.5)
        integer = ratio.round().clamp_(low, high)
        ctx.save_for_backward(inside, integer - ratio.mul_(inside))
        return integer.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inside, slope = ctx.saved_tensors
        by_scale = torch.dot(grads[0].flatten(), slope.flatten()) if ctx.needs_input_grad[1] else None
        return grads[0] * inside, by_scale, None, None


class Learner(nn.Module):
    """A network whose weights, biases and scales are parameters and whose tensors are rounded.

    Args:
        network: rewritten and balanced; not changed.
        weights: of every convolution: where learning starts.
        activations: likewise; a tensor that is not here is not rounded.
        fixed: names of tensors whose scale, and of convolutions whose weights, must stay.
    """

    def __init__(
        self,
        network: SpanNodes,
        weights: Mapping[str, QWeight],
        activations: Mapping[str, QParams],
        fixed: Iterable[str],
    ) -> None:
        super().__init__()
        self.network, self.start, self.activations, self.fixed = (
            network,
            weights,
            activations,
            frozenset(fixed),
        )
        learned = [name for name in weights if name not in self.fixed]
        self.units = nn.ParameterDict({key(n): nn.Parameter(weights[n].values.float()) for n in learned})
        self.biases = nn.ParameterDict({key(n): nn.Parameter(weights[n].bias.clone()) for n in learned})
        self.scales = nn.ParameterDict(
            {
                key(n): nn.Parameter(torch.tensor(math.log(q.scale)))
                for n, q in activations.items()
                if n not in self.fixed
            }
        )

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """The network's output, unrounded, (N, C_out, s*H, s*W)."""
        return self.network.run(lr_nchw, weight=self.weight, tensor=self.tensor)

    def weight(self, name: str) -> tuple[Tensor, Tensor]:
        """A convolution's kernel and bias, not rounded."""
        if key(name) not in self.units:
            return self.start[name].kernel(), self.start[name].bias
        return self.units[key(name)] * self.start[name].scale.view(-1, 1, 1, 1), self.biases[key(name)]

    def tensor(self, name: str, value: Tensor) -> Tensor:
        """A tensor, rounded where it is an integer one."""
        qparams = self.activations.get(name)
        if qparams is None or name in _UNROUNDED:
            return value
        scale = self.scales[key(name)].exp() if key(name) in self.scales else torch.tensor(qparams.scale)
        low, high = qparams.quant_min - qparams.zero_point, qparams.quant_max - qparams.zero_point
        rounded: Tensor = _Rounded.apply(value, scale, low, high)  # type: ignore[no-untyped-call]
        return rounded

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Adam's parameters with their steps."""
        groups: list[dict[str, Any]] = [
            {"params": list(self.units.values()), "lr": WEIGHT_STEP},
            {"params": list(self.scales.values()), "lr": SCALE_STEP},
        ]
        for name in self.start:
            if key(name) in self.biases:
                groups.append({"params": [self.biases[key(name)]], "lr": self._bias_step(name)})
        return groups

    def _bias_step(self, name: str) -> float:
        """In units of the output's rounding: a bias moves all pixels at once, so it must move slowly."""
        if name in self.activations:
            return BIAS_STEP * self.activations[name].scale
        return BIAS_STEP * float(self.start[name].bias.abs().mean()) / LIMIT

    def learned_scales(self) -> dict[str, QParams]:
        """The tensors' scales as they are now."""
        activations = dict(self.activations)
        for name, qparams in self.activations.items():
            if key(name) in self.scales:
                scale = float(self.scales[key(name)].detach().exp())
                activations[name] = QParams(scale=scale, zero_point=qparams.zero_point, dtype=qparams.dtype)
        return activations


_UNROUNDED = ("output", "upscaled")
"""Tensors at the pixels' own scale, where the float network's output is rounded too."""


def learn(
    learner: Learner,
    crops: Callable[[int], Tensor],
    *,
    steps: int,
    done: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    after: Callable[[int, torch.optim.Optimizer], None] | None = None,
    progress: Progress = silent,
) -> None:
    """Run the steps from `done` on, changing `learner`.

    Args:
        learner: what is learned.
        crops: gives the batch of a step, (N, C, H, W) in [0, 1].
        steps: of the whole run; the step size rises at first, then falls to zero.
        done: steps that were run before.
        optimizer: Adam over `learner.parameter_groups()`, where a run is taken up again.
        after: called with the number of steps done, after each.
        progress: told the loss after every step.
    """
    optimizer = optimizer or new_optimizer(learner)
    first = [group["lr"] for group in optimizer.param_groups] if done == 0 else None
    first = first or [group["initial_lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, first, strict=True):
        group["initial_lr"] = rate
    for step in range(done, steps):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * _share(step, steps)
        batch = crops(step)
        with torch.no_grad():
            aim = learner.network(batch).clamp(0, 1)
        with torch.enable_grad():
            loss = output_error(learner(batch).clamp(0, 1), aim)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        progress("learn", step + 1, steps, f"error {float(loss.detach()) * 255**2:.3f}")
        if after is not None:
            after(step + 1, optimizer)


def _share(step: int, steps: int) -> float:
    """The part of the full step size at `step`: a linear rise (Adam starts blind), then a cosine."""
    start = max(1, steps // 10)
    return min(1.0, (step + 1) / start) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def new_optimizer(learner: Learner) -> torch.optim.Optimizer:
    """Adam with every parameter's own step."""
    return torch.optim.Adam(learner.parameter_groups(), betas=BETAS)


def output_error(output: Tensor, aim: Tensor) -> Tensor:
    """Mean squared error, `LUMA_SHARE` of it on luma and the rest over the channels."""
    error = output - aim
    squared = error.square().mean()
    if error.shape[1] != 3:
        return squared
    luma = torch.einsum("nchw,c->nhw", error, error.new_tensor(LUMA))
    return LUMA_SHARE * luma.square().mean() + (1 - LUMA_SHARE) * squared
