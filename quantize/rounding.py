"""Weights as integers, rounded one after the other so that later ones make up for the error of earlier ones.

Frantar et al., "GPTQ" (arXiv:2210.17323): for a linear layer with inputs u, the output error of a change d
of a row of weights is d^T H d with H = E[u u^T]. Neighbouring pixels and channels are strongly correlated,
so most of the error of rounding one weight can be taken back by the others. The bias is the last, unrounded
weight, with input 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .quantized import QWeight

LIMIT = 127
DAMPING = 1e-2
"""Added to the moments' diagonal, as a part of it."""

DAMPING_OF_ROUNDED = 0.03
"""The same where inputs are 8-bit integers: how their errors go together on a few crops is not how they
always do."""

UNDONE_OF_ROUNDED = 0.4
"""How far a kernel with such inputs goes from the float one to the one that is best on them. That one is
weaker, as noisy inputs make every least-squares kernel, and what layers lose adds up, unlike their noise."""

AT_ONCE = 32
"""Inputs after which the error so far is spread over all others."""

TEXT_SHARE = 0.1
"""How much all pages of text count in a kernel's inputs, where all photographs count 1. Without text, what
rounding makes of its edges is as if nobody had looked."""

SHRINKS = tuple(0.94**i for i in range(16))
"""Scales tried for a channel, as parts of the one at which nothing is clipped: where the strongest inputs
have small weights, a finer scale is worth clipping the others."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of input patches, a 1 after each for the bias; (I*k*k + 1)^2, float64.

    Attributes:
        rounded: E[v v^T] of the inputs v that the integer convolution gets.
        cross: E[u v^T] with u, the inputs that the float convolution gets at the same place.
    """

    rounded: Tensor
    cross: Tensor


def input_moments(
    conv: nn.Conv2d, exact: Tensor, rounded: Tensor, weights: Tensor, *, text: int = 0
) -> Moments:
    """The moments over all patches that `conv` sees, zero padding included.

    Args:
        conv: with stride 1 and one group.
        exact: its input in the float network, (N, I, H, W).
        rounded: its input in the integer network.
        weights: what an error in its output costs, (N, O, H, W): patches count by the mean over O.
        text: how many images, the last ones, are pages of text and count `TEXT_SHARE` together.
    """
    costs, counts = weights.mean(1), (1.0, TEXT_SHARE)
    kinds = [kind for kind in torch.split(costs, [len(costs) - text, text]) if len(kind)]
    shares = [_shares(kind) * count for kind, count in zip(kinds, counts, strict=False)]
    share = torch.cat(shares)[:, None]
    u, v = (patches(conv, x) for x in (exact, rounded))
    weighted = v * share
    return Moments(rounded=(v.T @ weighted).double(), cross=(u.T @ weighted).double())


def _shares(costs: Tensor) -> Tensor:
    """How much each patch counts of all, 1 together: half by what an error there costs, half equally."""
    return (costs / costs.sum() * 0.5 + 0.5 / costs.numel()).flatten()


def patches(conv: nn.Conv2d, inputs: Tensor) -> Tensor:
    """What the kernel is laid on, zero padding included, and a 1 for the bias: (places, I*k*k + 1)."""
    found = functional.unfold(inputs, conv.kernel_size[0], padding=conv.kernel_size[0] // 2)
    return functional.pad(found.transpose(1, 2).flatten(0, 1), (0, 1), value=1.0)


def nearest(conv: nn.Conv2d) -> QWeight:
    """Each weight to the nearest integer, at the scale at which nothing is clipped."""
    scale = conv.weight.abs().amax((1, 2, 3)) / LIMIT
    scale = torch.where(scale > 0, scale, scale.max())
    assert conv.bias is not None
    values = torch.round(conv.weight / scale.view(-1, 1, 1, 1)).clamp(-LIMIT, LIMIT)
    return QWeight(values=values.to(torch.int8), scale=scale, bias=conv.bias.clone())


def compensated(
    conv: nn.Conv2d, moments: Moments, *, damping: float = DAMPING, undone: float = 1.0
) -> QWeight:
    """Weights that give the float convolution's output best from rounded inputs, themselves rounded.

    First a part, `undone`, of the way to the kernel and bias that minimize E[(W u - W' v)^2], which undo what
    the inputs' rounding does on average; the bias takes all that is left of the mean error. Then each weight
    is rounded, in the order of its inputs' power, its error spread over those still to come.

    Args:
        conv: with one group; left unchanged.
        moments: of its inputs.
        damping: added to their diagonal, as a part of it.
        undone: from 0 to 1.
    """
    assert conv.bias is not None
    exact = torch.cat([conv.weight.double().flatten(1), conv.bias.double()[:, None]], dim=1)
    power = moments.rounded.diagonal()
    added = torch.diag(damping * power + 1e-9 * power.mean())
    damped = (moments.rounded + moments.rounded.T) / 2 + added
    wanted = torch.linalg.solve(damped, (exact @ (moments.cross + added)).T).T
    wanted = undone * wanted + (1 - undone) * _without_mean_error(exact, moments)
    largest = (wanted[:, :-1].abs().amax(1) / LIMIT).clamp(min=1e-12)
    scales = torch.cat([largest * shrink for shrink in SHRINKS])

    def stored(weights: Tensor) -> Tensor:
        return torch.round(weights / scales).clamp_(-LIMIT, LIMIT) * scales

    numbers, bias, costs = spread_rounding(wanted.repeat(len(SHRINKS), 1), damped, stored)
    best = costs.view(len(SHRINKS), -1).argmin(0) * len(wanted) + torch.arange(len(wanted))
    scale = scales[best]
    return QWeight(
        values=torch.round(numbers[best] / scale[:, None]).view(conv.weight.shape).to(torch.int8),
        scale=scale.float(),
        bias=bias[best].float(),
    )


def _without_mean_error(exact: Tensor, moments: Moments) -> Tensor:
    """The float kernel, (O, I*k*k + 1), with the bias at which it is right on average on rounded inputs."""
    share = moments.rounded[-1, -1]
    bias = exact @ moments.cross[:, -1] - exact[:, :-1] @ moments.rounded[:-1, -1]
    return torch.cat([exact[:, :-1], bias[:, None] / share], dim=1)


def spread_rounding(
    wanted: Tensor, damped: Tensor, stored: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Round one input's weights after the other, each error spread over the weights still to come (GPTQ).

    Args:
        wanted: (O, I*k*k + 1), the bias last, float64.
        damped: (I*k*k + 1)^2, moments of the inputs.
        stored: from the weights of one input, (O,), to the numbers that stand for them.

    Returns:
        numbers (O, I*k*k), biases (O,), which are not rounded, and what each row's error costs, (O,).
    """
    power = damped.diagonal()
    order = torch.cat([power[:-1].argsort(descending=True), torch.tensor([len(power) - 1])])
    spread = _root_of_inverse(damped[order][:, order])
    rest = wanted.T[order]
    rounded, costs = torch.zeros_like(rest[:-1]), torch.zeros_like(rest[0])
    for start in range(0, len(rounded), AT_ONCE):
        stop = min(start + AT_ONCE, len(rounded))
        errors = torch.zeros_like(rest[start:stop])
        for column in range(start, stop):
            number = stored(rest[column])
            error = (rest[column] - number) / spread[column, column]
            rounded[column], errors[column - start] = number, error
            rest[column + 1 : stop].addr_(spread[column, column + 1 : stop], error, alpha=-1)
        rest[stop:].addmm_(spread[start:stop, stop:].T, errors, alpha=-1)
        costs += errors.square().sum(0)
    numbers = torch.zeros_like(rounded)
    numbers[order[:-1]] = rounded
    return numbers.T, rest[-1], costs


def _root_of_inverse(matrix: Tensor) -> Tensor:
    """The upper triangular R with R^T R the inverse of `matrix`, from a factorization of `matrix` itself."""
    lower = torch.linalg.cholesky(matrix.flip(0, 1))
    unit = torch.eye(len(matrix), dtype=matrix.dtype)
    root: Tensor = torch.linalg.solve_triangular(lower, unit, upper=False)
    return root.flip(0, 1)
