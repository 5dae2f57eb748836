"""Which range of a tensor its integers should cover: the one that does the network's output least harm.

How much an error in one number matters is measured, not guessed: E[(dL/dx)^2] over random directions L of
the output is the output error that a small independent error in x causes. So whatever lies where the network
is insensitive, such as numbers that a SiLU turns into zero, does not widen a range.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.progress import Progress, silent

from .graph import IMAGE, SpanNodes
from .quantized import QParams

LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
"""BT.601 studio-range luma of RGB in [0, 1]: what PSNR-Y measures."""

LUMA_SHARE = 0.7
"""Part of the error that is counted on luma; the rest is the mean over the channels."""

CLIPPING = 3.0
"""How much worse a squared error by clipping counts than one by rounding: neighbours err alike."""


EDGES_SHARE = 0.15
"""What the error on text counts beside that on photographs, both as logarithms: one per cent of that on
photographs is worth seven of that on text."""

EDGES_PRICE = 0.1
"""How much worse photographs may at most be rounded, in all tensors together, for the sake of text: what
clipping does to it is predicted too high where the float network overshoots."""

EDGES_REACH = 2.0
"""How far beyond what photographs reach a range may go for their sake."""

WEIGHTS_OF_EDGES = tuple(10 ** (power / 10) for power in range(-60, 21))
"""Those tried, from the least."""

NEAR = 0.12
"""How far from the best range alone the scale of a table's input may go, as a part of it."""

SCALES_TRIED = 25
"""How many scales of a table's input are tried."""

AT_ONCE = 6
"""Crops that are run with all gradients kept: what memory allows."""

MOST_VALUES = 200_000
"""How many of a tensor's values are enough to compare scales by."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A tensor as seen on calibration images.

    Attributes:
        values: (N, C, H, W).
        weights: the same shape: squared output error in 8-bit levels, summed over output pixels and divided
            by their number, per squared error of the value.
    """

    values: Tensor
    weights: Tensor


def observe(
    network: SpanNodes,
    lr_nchw: Tensor,
    *,
    probes: int = 2,
    seed: int = 0,
    stage: str = "observe",
    progress: Progress = silent,
) -> dict[str, Sample]:
    """Every tensor of the float network on a batch, with what an error in it costs.

    Args:
        network: in float.
        lr_nchw: (N, C, H, W) in [0, 1].
        probes: random directions of the output per kind of error; more are less noisy.
        seed: of the directions.
        stage: what `progress` is told is being done.
        progress: told after every direction.
    """
    generator = torch.Generator().manual_seed(seed)
    parts = torch.split(lr_nchw, AT_ONCE)
    kept: dict[str, list[Tensor]] = {}
    weights: dict[str, list[Tensor]] = {}
    for number, part in enumerate(parts):
        for probe in range(2 * probes):
            seen = _run_with_gradients(network, part)
            out = list(seen.values())[-1]
            direction = _direction(out, on_luma=probe % 2 == 0, generator=generator)
            torch.autograd.backward(out, direction)
            pixels = len(lr_nchw) * out.shape[2] * out.shape[3]
            for name, value in seen.items():
                assert value.grad is not None
                share = value.grad.square_().mul_(255**2 / probes / pixels)
                if probe == 0:
                    kept.setdefault(name, []).append(value.detach())
                    weights.setdefault(name, []).append(share)
                else:
                    weights[name][-1] += share
            progress(stage, 2 * probes * number + probe + 1, 2 * probes * len(parts))
    return {
        name: Sample(values=torch.cat(kept.pop(name)), weights=torch.cat(weights.pop(name)))
        for name in [*kept]
    }


def _run_with_gradients(network: SpanNodes, lr_nchw: Tensor) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        kept[name] = value.detach().requires_grad_() if name == IMAGE else value
        kept[name].retain_grad()
        return kept[name]

    with torch.enable_grad():
        network.run(lr_nchw, tensor=keep)
    return kept


def _direction(out: Tensor, *, on_luma: bool, generator: torch.Generator) -> Tensor:
    colours = out.shape[1]
    shape = (out.shape[0], 1 if on_luma and colours == 3 else colours, *out.shape[2:])
    signs = torch.randint(0, 2, shape, generator=generator).to(out) * 2 - 1
    if not on_luma:
        return signs * math.sqrt((1 - LUMA_SHARE) / colours)
    luma = out.new_tensor(LUMA if colours == 3 else [1 / colours] * colours)
    return signs * luma.view(1, -1, 1, 1) * math.sqrt(LUMA_SHARE)


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The ranges (low, high) that a tensor could have, zero included, and what each costs.

    Attributes:
        lows: (N,).
        highs: (M,).
        error: (N, M), on photographs, in the unit of `Sample.weights`.
        edges: (N, M), the same on text; zeros where there is none.
    """

    lows: Tensor
    highs: Tensor
    error: Tensor
    edges: Tensor

    @property
    def least(self) -> float:
        """The error of the range that is best on photographs."""
        return float(self.error.min())

    def best(self, *, edges_weight: float = 0.0) -> tuple[float, float]:
        """The range with the least error on photographs, plus `edges_weight` times that on edges."""
        row, column = divmod(self._place(edges_weight), len(self.highs))
        return self.lows[row].item(), self.highs[column].item()

    def errors_then(self, edges_weight: float) -> tuple[float, float]:
        """The errors of that range, on photographs and on edges."""
        at = self._place(edges_weight)
        return float(self.error.flatten()[at]), float(self.edges.flatten()[at])

    def _place(self, edges_weight: float) -> int:
        return int((self.error + edges_weight * self.edges).argmin())


def edges_weight(ranges: Sequence[Ranges]) -> float:
    """What edges weigh in `Ranges.best` where `EDGES_SHARE` puts them, at `EDGES_PRICE` at most.

    0 where there are none, or the smallest weight is too dear.
    """
    most = (1 + EDGES_PRICE) * sum(one.least for one in ranges)
    best = (math.inf, 0.0)
    for weight in WEIGHTS_OF_EDGES:
        errors = [one.errors_then(weight) for one in ranges]
        photographs, edges = (sum(kind) for kind in zip(*errors, strict=True))
        if photographs > most or edges == 0:
            break
        best = min(best, (math.log(photographs) + EDGES_SHARE * math.log(edges), weight))
    return best[1]


def best_range(sample: Sample, *, bins: int = 4096, steps: int = 64) -> tuple[float, float]:
    """The (low, high), zero included, that minimizes the weighted squared error of rounding and of clipping.

    Args: as of `possible_ranges`.
    """
    return possible_ranges(sample, bins=bins, steps=steps).best()


def possible_ranges(
    sample: Sample, *, edges: Sample | None = None, levels: int = 255, bins: int = 4096, steps: int = 64
) -> Ranges:
    """What the ranges that a tensor could have would cost.

    Rounding errors are taken as uniform, a step squared over 12; clipping errors are summed on a weighted
        histogram.

    Args:
        sample: of the tensor on photographs.
        edges: of the tensor on text.
        levels: steps in a range.
        bins: of the histogram.
        steps: ends tried on either side.
    """
    low, high = min(sample.values.min().item(), -1e-9), max(sample.values.max().item(), 1e-9)
    if edges is not None:
        low = min(low, max(EDGES_REACH * low, edges.values.min().item()))
        high = max(high, min(EDGES_REACH * high, edges.values.max().item()))
    shares = torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** 2
    lows, highs = low * shares, high * shares
    step = (highs[None] - lows[:, None]) / levels

    def error(of: Sample) -> Tensor:
        clipped, inside = _clipping(of, lows, highs, bins)
        return CLIPPING * clipped + inside * step**2 / 12

    on_photographs = error(sample)
    on_photographs[0, 0] = math.inf
    on_edges = torch.zeros_like(on_photographs) if edges is None else error(edges)
    return Ranges(lows=lows, highs=highs, error=on_photographs, edges=on_edges)


def _clipping(sample: Sample, lows: Tensor, highs: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Weighted squared error of clipping to every (low, high), and the weight of what is inside."""
    values, weights = sample.values.flatten().double(), sample.weights.flatten().double()
    low, high = lows[-1], highs[-1]
    edges = torch.linspace(low.item(), high.item(), bins + 1, dtype=torch.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    index = ((values - low) / (high - low) * bins).long().clamp(0, bins - 1)
    mass = torch.zeros(bins, dtype=torch.float64).scatter_add_(0, index, weights)
    sums = torch.stack([_running(mass * centres**power) for power in range(3)])
    at_low, at_high = (
        sums[:, ((x - low) / (high - low) * bins).round().long().clamp(0, bins)] for x in (lows, highs)
    )
    above = sums[:, -1:] - at_high
    clipped_low = at_low[2] - 2 * lows * at_low[1] + lows**2 * at_low[0]
    clipped_high = above[2] - 2 * highs * above[1] + highs**2 * above[0]
    return clipped_low[:, None] + clipped_high[None], at_high[0][None] - at_low[0][:, None]


def _running(values: Tensor) -> Tensor:
    return torch.cat([values.new_zeros(1), values.cumsum(0)])


@dataclass(frozen=True, kw_only=True)
class Table:
    """A sigmoid or hyperbolic tangent in integers: a table of 256 entries.

    Attributes:
        samples: its input, before any factor, and its output on some images, and what these images count.
        function: what the table holds.
        gates: the scales and zero points of the output that the kernel takes.
    """

    samples: Sequence[tuple[float, Sample, Sample]]
    function: Callable[[Tensor], Tensor]
    gates: Sequence[QParams]


def around_tables(
    chosen: QParams, source: Sequence[tuple[float, Sample]], tables: Sequence[Table]
) -> tuple[QParams, list[QParams]]:
    """Scales of a tensor, near the one chosen, and of the tables that read it, or groups of its channels.

    A table's error is a function of its input's integer, of which few matter, so some scales are luckier than
    others.

    Args:
        chosen: of the tensor, from `best_range`.
        source: the tensor on some images, and what these images count.
        tables: what reads it.
    """
    best: tuple[float, QParams, list[QParams]] = (math.inf, chosen, [table.gates[0] for table in tables])
    for factor in torch.linspace(1 - NEAR, 1 + NEAR, SCALES_TRIED).tolist():
        qparams = replace(chosen, scale=chosen.scale * factor)
        lost = sum(share * _lost(qparams, sample) for share, sample in source)
        found = [_best_gate(qparams, table) for table in tables]
        lost += sum(error for error, _ in found)
        best = min(best, (lost, qparams, [gate for _, gate in found]), key=lambda one: one[0])
    return best[1:]


def _lost(qparams: QParams, sample: Sample) -> float:
    """What rounding a tensor costs."""
    every = max(1, sample.values.numel() // MOST_VALUES)
    values, weights = (one.flatten()[::every].double() for one in (sample.values, sample.weights * every))
    counted = torch.where((values < qparams.low) | (values > qparams.high), CLIPPING, 1.0)
    return float((weights * counted * (qparams.rounded(values) - values).square()).sum())


def _best_gate(qparams: QParams, table: Table) -> tuple[float, QParams]:
    """What rounding a table's entries costs at the best of its scales, and that scale."""
    scales, zero_points = (
        torch.tensor([getattr(one, part) for one in table.gates]).double()[:, None]
        for part in ("scale", "zero_point")
    )
    weight = torch.zeros(256, dtype=torch.float64)
    for share, source, gate in table.samples:
        every = max(1, source.values.numel() // MOST_VALUES)
        values, costs = (one.flatten()[::every].double() for one in (source.values, gate.weights * every))
        integers = (qparams.rounded(values) / qparams.scale).round().long() + qparams.zero_point + 128
        weight.scatter_add_(0, integers, share * costs)
    exact = table.function((torch.arange(256).double() - 128 - qparams.zero_point) * qparams.scale)
    steps = exact / scales + zero_points
    clipped = torch.where((steps < -128.5) | (steps > 127.5), CLIPPING, 1.0)
    errors = (weight * clipped * ((steps.round().clamp(-128, 127) - steps) * scales).square()).sum(1)
    least = int(errors.argmin())
    return float(errors[least]), table.gates[least]


def channel_ranges(sample: Sample) -> Tensor:
    """How far `best_range` of each channel alone reaches to either side, (2, C), below zero and above.

    The longer side is at least a thousandth of the longest of all, the other a millionth.
    """
    found = torch.tensor([best_range(one, bins=1024, steps=40) for one in _by_channel(sample)]).T.abs()
    longest = found.max().item()
    least = torch.where(found == found.amax(0), longest * 1e-3, longest * 1e-6)
    return torch.maximum(found, least)


def _by_channel(sample: Sample) -> Iterator[Sample]:
    for c in range(sample.values.shape[1]):
        yield Sample(values=sample.values[:, c], weights=sample.weights[:, c])


def noise(samples: Mapping[str, Sample], rounded: Mapping[str, Tensor]) -> dict[str, float]:
    """The expected squared output error, in 8-bit levels, of rounding each tensor alone."""
    return {
        name: float((samples[name].weights * (value - samples[name].values).square()).sum())
        for name, value in rounded.items()
    }
