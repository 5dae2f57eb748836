"""Fake quantization: the integers' values, and gradients against a reference and against differences."""

import pytest
import torch
from torch import Tensor

from quantize.fake import fake_round, straight_through
from quantize.quantized import QParams

QPARAMS = QParams(scale=0.037, zero_point=-30)
LOW, HIGH = QPARAMS.quant_min - QPARAMS.zero_point, QPARAMS.quant_max - QPARAMS.zero_point


def values(*, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """Numbers on both sides of both limits, none within a thousandth of a step of a jump."""
    drawn = 8 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ratio = drawn / QPARAMS.scale
    ratio += 0.01 * ((ratio - ratio.floor() - 0.5).abs() < 0.01)
    return (ratio * QPARAMS.scale).contiguous(memory_format=layout)


def rounded(value: Tensor, log_scale: Tensor | None = None, scale: float = QPARAMS.scale) -> Tensor:
    return fake_round(value, scale=scale, low=LOW, high=HIGH, log_scale=log_scale)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_values_are_those_that_the_integers_store(layout: torch.memory_format) -> None:
    given = values(layout=layout).float()
    out = rounded(given)
    assert torch.equal(out, QPARAMS.rounded(given))
    assert out.is_contiguous(memory_format=layout) and out.dtype == torch.float32
    assert out.min() == pytest.approx(QPARAMS.low) and out.max() == pytest.approx(QPARAMS.high)


def test_bfloat16_goes_in_and_its_gradient_comes_back() -> None:
    given = values().to(torch.bfloat16).requires_grad_()
    out = rounded(given)
    assert torch.equal(out, QPARAMS.rounded(given.detach().float()))
    out.sum().backward()
    assert given.grad is not None and given.grad.dtype == torch.bfloat16


def test_gradients_are_those_of_the_written_out_formula() -> None:
    grad = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    mine, theirs = values().float().requires_grad_(), values().float().requires_grad_()
    logs = [torch.tensor(QPARAMS.scale).log().requires_grad_() for _ in range(2)]
    rounded(mine, logs[0]).backward(grad)
    scale = logs[1].exp()
    ratio = theirs / scale
    clipped = ratio.clamp(LOW - 0.5, HIGH + 0.5)
    whole = clipped + (ratio.detach().round().clamp(LOW, HIGH) - clipped).detach()
    (whole * scale).backward(grad)
    assert mine.grad is not None and theirs.grad is not None
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(logs[0].grad, logs[1].grad, rtol=1e-4, atol=1e-4)


def test_the_scale_s_gradient_is_the_slope_of_the_clipped_part_and_the_mean_slope_of_the_rest() -> None:
    """Where all is clipped the function is linear in the scale, and differences give its slope exactly."""
    given = torch.full((50,), 1e3)
    log_scale = torch.tensor(QPARAMS.scale).log().requires_grad_()
    rounded(given, log_scale).sum().backward()
    step = 1e-3
    up, down = (rounded(given, scale=QPARAMS.scale * (1 + sign * step)).sum() for sign in (1, -1))
    assert log_scale.grad is not None
    assert float(log_scale.grad) == pytest.approx(float(up - down) / (2 * step), rel=1e-4)


def test_a_step_along_the_gradient_brings_the_scale_to_where_the_error_is_least() -> None:
    given = values().float()
    logs = torch.tensor(0.004).log().requires_grad_()
    errors = []
    optimizer = torch.optim.Adam([logs], lr=0.05)
    for _ in range(120):
        out = fake_round(given, scale=float(logs.detach().exp()), low=LOW, high=HIGH, log_scale=logs)
        loss = (out - given).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    grid = torch.logspace(-3, 0, 200).tolist()
    least = min(float((rounded(given, scale=scale) - given).square().mean()) for scale in grid)
    assert errors[-1] < 3 * least and errors[-1] < 1e-3 * errors[0]


def test_clipped_numbers_get_no_gradient() -> None:
    given = torch.tensor([1e3, -1e3, 0.1]).requires_grad_()
    rounded(given).sum().backward()
    assert given.grad is not None and given.grad.tolist() == [0.0, 0.0, 1.0]


def test_straight_through_rounds_and_passes_the_gradient() -> None:
    given = torch.tensor([0.4, 1.5, 2.5]).requires_grad_()
    out = straight_through(given)
    out.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert out.tolist() == [0.0, 2.0, 2.0]
    assert given.grad is not None and given.grad.tolist() == [1.0, 2.0, 3.0]
