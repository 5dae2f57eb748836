"""Fake quantization: tensors rounded in floating point as the integer kernels round them, with a gradient.

Gradients pass rounding unchanged and stop where a number is clipped (the straight-through estimator). A scale
gets the gradient of Esser et al., "Learned step size quantization" (arXiv:1902.08153), here for its
logarithm, so that one step size fits scales of any magnitude.
"""

from typing import Any

import torch
from torch import Tensor


def fake_round(
    value: Tensor, *, scale: Tensor | float, low: int, high: int, log_scale: Tensor | None = None
) -> Tensor:
    """`scale * clamp(round(value / scale), low, high)`, halves to even.

    Few passes over memory, since that is what it costs: four forward, one backward, three more where a scale
    learns. What is kept for the backward pass tells again what was clipped.

    Args:
        value: any float dtype; rounded in float32.
        scale: one integer step, a number or a scalar on the device of `value`; it gets no gradient itself.
        low: the smallest integer, less the zero point.
        high: the largest.
        log_scale: a scalar that gets the gradient of the logarithm of `scale`; None where it is not learned.

    Returns:
        float32, of the same shape and layout.
    """
    rounded: Tensor = _FakeRound.apply(value, log_scale, scale, (low, high))  # type: ignore[no-untyped-call]
    return rounded


class _FakeRound(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, log_scale: Tensor | None, scale: Tensor | float, limits: tuple[int, int]
    ) -> Tensor:
        low, high = limits
        value = value.float()
        steps = value / scale
        rounded = steps.round().clamp_(low, high).mul_(scale)
        learned = log_scale is not None and ctx.needs_input_grad[1]
        ctx.save_for_backward(steps, *((value, rounded) if learned else ()))
        # Beyond these a number is clipped; up to half a step further than the last integer it is rounded.
        ctx.limits = low - 0.5, high + 0.5
        return rounded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,), (steps, *learned) = grads, ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(grad, steps, *ctx.limits)
        by_scale = None
        if learned:
            value, rounded = learned
            # d/d log(scale) = rounded - value inside, = rounded where clipped
            by_scale = (grad * rounded).addcmul_(inside, value, value=-1).sum()
        return inside, by_scale, None, None


def straight_through(value: Tensor) -> Tensor:
    """The nearest whole numbers, halves to even; the gradient passes unchanged."""
    return value + (value.round() - value).detach()
