"""What each step of quantization gains on the real network: the tables in docs/quantization.md.

`pytest -m slow -s tests/quantize/test_rewrite_gains.py` prints it. Calibrated on the photographs of
scikit-image, judged on crops of BSDS400: never on a benchmark.
"""

import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_eval.datasets import bundled_photographs, open_dataset
from models import SpanDeploy, load_checkpoint, reparameterize
from models.reparam import chain_pointwise_last
from quantize import ptq, ranges, rounding, scales
from quantize import rewrite as rewriting
from quantize import split as splitting
from quantize.balance import balance
from quantize.calibration import CalibrationSet
from quantize.graph import IMAGE, SpanNodes
from quantize.quantized import Provenance, QuantizedSpan
from quantize.ranges import LUMA, Ranges, Sample, possible_ranges
from quantize.recipe import recipe_named
from quantize.rewrite import _Build, _merged, _normalized, _output, _summed, rewrite
from quantize.silu import GROUPS
from quantize.simulation import simulate

pytestmark = pytest.mark.slow

NETWORK = "spanx4_ch48_deploy.pth"
EVERY = 16
"""Of the images of BSDS400, in order of names, one in so many is judged on."""
SIDE = 64


@pytest.fixture(scope="module")
def network(shared_weights: Path) -> SpanDeploy:
    return reparameterize(load_checkpoint(shared_weights / NETWORK).network)


@pytest.fixture(scope="module")
def calibration() -> CalibrationSet:
    return CalibrationSet.of([sample.lr for sample in bundled_photographs("calibration", scale=4)])


@pytest.fixture(scope="module")
def judged(shared_images: Path) -> tuple[Tensor, Tensor]:
    """Centre crops: (N, 3, 64, 64) and (N, 3, 256, 256), in [0, 1]."""
    low, high = [], []
    for number, sample in enumerate(open_dataset(shared_images / "BSDS400", scale=4)):
        if number % EVERY == 0 and sample.hr is not None:
            y, x = ((length - SIDE) // 2 for length in sample.lr.shape[:2])
            low.append(sample.lr[y : y + SIDE, x : x + SIDE])
            high.append(sample.hr[4 * y : 4 * (y + SIDE), 4 * x : 4 * (x + SIDE)])
    as_tensor = (torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float() / 255 for part in (low, high))
    return next(as_tensor), next(as_tensor)


def nodes_of(network: SpanDeploy, *, mask: bool, split: bool, merged: int, twin: bool) -> SpanNodes:
    """The network with some rewrites: `merged` 1 is `conv_2`, 2 the first convolution too, 3 as one."""
    build = _Build()
    source, kernel, bias = _normalized(network, build)
    if not mask:
        build = _Build()
        mean = torch.tensor(network.config.rgb_mean)
        scale = torch.eye(3)[:, :, None, None] * network.config.img_range
        source = build.conv("normalized", IMAGE, scale, -mean * network.config.img_range)
        assert network.conv_1.bias is not None
        kernel, bias = network.conv_1.weight.double(), network.conv_1.bias.double()
    first = build.conv("conv_1", source, kernel, bias)
    ends = one = build.block("block_1", network.block_1, first, first, few_bits=twin, first=twin)
    for i in range(2, 7):
        ends = build.block(f"block_{i}", getattr(network, f"block_{i}"), ends.out, ends.plain, few_bits=twin)
    cat = network.conv_cat
    if not split:
        second = build.copy("conv_2", ends.out, network.conv_2)
        joined = build.add("joined", "concat", first, second, one.out, ends.activated)
        _output(build, build.copy("conv_cat", joined, cat), network.upsampler[0])
        return SpanNodes(network.config, build.nodes, build.convs).eval()
    slices = torch.split(cat.weight, network.config.feature_channels, dim=1)
    parts = [
        build.conv("conv_cat.2", one.out, slices[2], None),
        build.conv("conv_cat.3", ends.activated, slices[3], None),
    ]
    if merged == 3:
        shift = torch.zeros(cat.out_channels, dtype=torch.float64)
        near = chain_pointwise_last(kernel, bias, slices[0].double(), shift)
        far = _merged(network.conv_2, slices[1], cat.bias)
        joined = build.add("joined", "concat", source, ends.out)
        parts.append(
            build.conv("conv_cat.0_1", joined, torch.cat([near[0], far[0]], dim=1), near[1] + far[1])
        )
    elif merged == 2:
        shift = torch.zeros(cat.out_channels, dtype=torch.float64)
        both = chain_pointwise_last(kernel, bias, slices[0].double(), shift)
        parts.append(build.conv("conv_cat.0", source, *both))
    elif merged < 2:
        parts.append(build.conv("conv_cat.0", first, slices[0], None))
    if merged in (1, 2):
        parts.append(build.conv("conv_cat.1", ends.out, *_merged(network.conv_2, slices[1], cat.bias)))
    elif not merged:
        second = build.copy("conv_2", ends.out, network.conv_2)
        parts.append(build.conv("conv_cat.1", second, slices[1], cat.bias))
    _output(build, _summed(build, parts)[-1], network.upsampler[0])
    return SpanNodes(network.config, build.nodes, build.convs).eval()


def quantized(nodes: SpanNodes, calibration: CalibrationSet) -> QuantizedSpan:
    """As `ptq.prepare`, from nodes that are balanced already or cannot be."""
    plan, recipe = ptq.EFFORTS["fast"], recipe_named("w8a8")
    crops = calibration.crops(plan.crops, plan.side)
    text = ptq.text_it_masters(nodes, plan.text, plan.side, seed=calibration.seed)
    edges = ranges.observe(nodes, text)
    samples = ranges.observe(nodes, crops)
    activations = ptq.choose_ranges(nodes, recipe, samples, edges)
    ptq.place_image(nodes, (samples, edges), activations)
    weights = ptq.round_weights(nodes, samples, edges, activations)
    return ptq.assemble(
        ptq.Start(nodes=nodes, weights=weights, activations=activations), recipe, Provenance()
    )


def luma(image: Tensor) -> Tensor:
    return torch.einsum("nchw,c->nhw", image, torch.tensor(LUMA)) * 255


def judge(made: Callable[[Tensor], Tensor], network: nn.Module, judged: tuple[Tensor, Tensor]) -> list[float]:
    """Squared luma error to the float network in 8-bit levels, and the mean drop in dB."""
    low, high = judged
    with torch.no_grad():
        float_, integer = (
            luma((one(low).clamp(0, 1) * 255).round() / 255)[:, 4:-4, 4:-4] for one in (network, made)
        )
    truth = luma(high)[:, 4:-4, 4:-4]
    errors = [(one - truth).square().mean((1, 2)) for one in (float_, integer)]
    return [
        float((integer - float_).square().mean()),
        float(10 * (errors[1] / errors[0]).log10().mean()),
    ]


STAGES: dict[str, dict[str, object]] = {
    "straight: normalization apart, one concat": {"mask": False, "split": False, "merged": 0, "twin": False},
    "normalization folded": {"mask": True, "split": False, "merged": 0, "twin": False},
    "a scale per source of conv_cat": {"mask": True, "split": True, "merged": 0, "twin": False},
    "conv_2 merged": {"mask": True, "split": True, "merged": 1, "twin": False},
    "first convolution merged": {"mask": True, "split": True, "merged": 2, "twin": False},
    "image joined with block_6": {"mask": True, "split": True, "merged": 3, "twin": False},
}


def without_leaning(build: _Build, source: str, conv: nn.Module, *, leaning: int = 0) -> None:
    """`_output` as it would be if the last convolution did not read the image."""
    _output(build, source, conv)


def test_gain_of_each_rewrite(
    network: SpanDeploy,
    calibration: CalibrationSet,
    judged: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: dict[str, list[float]] = {}

    def measure(name: str, nodes: SpanNodes) -> None:
        started = time.process_time()
        made = quantized(nodes, calibration)
        rows[name] = [*judge(lambda lr: simulate(made, lr), network, judged), time.process_time() - started]
        print(f"{name}: " + ", ".join(f"{value:.3f}" for value in rows[name]), flush=True)

    for name, parts in STAGES.items():
        measure(name, nodes_of(network, **parts))  # type: ignore[arg-type]
    crops = calibration.crops(ptq.EFFORTS["fast"].crops, ptq.EFFORTS["fast"].side)
    with monkeypatch.context() as patched:
        patched.setattr(rewriting, "_output", without_leaning)
        measure("attention by tanh", rewrite(network))
        nodes = rewrite(network)
        nodes.mixed, mixed = (), nodes.mixed
        balance(nodes, crops)
        measure("factors per channel in block 1", nodes)
        nodes = rewrite(network)
        nodes.mixed = mixed
        balance(nodes, crops)
        measure("channels of conv_cat mixed", nodes)
    nodes = rewrite(network)
    balance(nodes, crops)
    measure("what a pixel tells of conv_cat passes it by", nodes)
    whole = partial(ptq.rearranged, network, recipe_named("w8a8"), crops, seed=calibration.seed)
    with monkeypatch.context() as patched:
        patched.setattr(splitting, "TAKES", {**splitting.TAKES, **dict.fromkeys(GROUPS, math.inf)})
        patched.setattr(splitting, "attentions", lambda _: ())
        measure("tanh for sigmoids, and twins", whole())
    measure("groups of channels", whole())
    assert rows["channels of conv_cat mixed"][0] < 0.7 * next(iter(rows.values()))[0]
    errors = [row[0] for row in rows.values()]
    assert all(after < 1.15 * before for before, after in itertools.pairwise(errors))


def test_gain_of_weighted_ranges(
    network: SpanDeploy,
    calibration: CalibrationSet,
    judged: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ranges from the smallest to the largest value, of least squared error, of least error in the output."""
    plan, errors = ptq.EFFORTS["fast"], {}

    def reach(sample: Sample, **_: object) -> Ranges:
        ends = (torch.tensor([limit]) for limit in (sample.values.min(), sample.values.max()))
        low, high = next(ends).clamp(max=-1e-9), next(ends).clamp(min=1e-9)
        return Ranges(lows=low, highs=high, error=torch.zeros(1, 1), edges=torch.zeros(1, 1))

    def even(sample: Sample, **_: object) -> Ranges:
        return possible_ranges(Sample(values=sample.values, weights=torch.ones_like(sample.weights)))

    for name, chosen in {"min/max": reach, "squared error": even, "output error": possible_ranges}.items():
        monkeypatch.setattr(scales, "possible_ranges", chosen)
        crops = calibration.crops(plan.crops, plan.side)
        nodes = ptq.rearranged(network, recipe_named("w8a8"), crops, seed=calibration.seed)
        made = quantized(nodes, calibration)
        errors[name] = judge(lambda lr, made=made: simulate(made, lr), network, judged)  # type: ignore[misc]
        print(f"{name}: " + ", ".join(f"{value:.3f}" for value in errors[name]), flush=True)
    assert errors["output error"][0] < errors["squared error"][0]
    assert errors["output error"][0] < errors["min/max"][0]


def test_gain_of_compensation(
    network: SpanDeploy,
    calibration: CalibrationSet,
    judged: tuple[Tensor, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Weights to the nearest integer, compensated on float inputs, and on rounded ones, more and less."""
    plan, errors, moments = ptq.EFFORTS["fast"], {}, rounding.input_moments

    def on_float(
        conv: nn.Conv2d, exact: Tensor, _rounded: Tensor, weights: Tensor, *, text: int
    ) -> rounding.Moments:
        return moments(conv, exact, exact, weights, text=text)

    changes: dict[str, list[tuple[object, str, object]]] = {
        "nearest": [(ptq, "compensated", lambda conv, _moments, **_: rounding.nearest(conv))],
        "on float inputs": [(ptq, "input_moments", on_float)],
        "on rounded inputs, mean error alone undone": [(ptq, "UNDONE_OF_ROUNDED", 0.0)],
        "on rounded inputs, all undone": [(ptq, "UNDONE_OF_ROUNDED", 1.0)],
        "on rounded inputs, photographs alone": [(rounding, "TEXT_SHARE", 0.0)],
        "on rounded inputs, as it is": [],
    }
    for name, changed in changes.items():
        crops = calibration.crops(plan.crops, plan.side)
        nodes = ptq.rearranged(network, recipe_named("w8a8"), crops, seed=calibration.seed)
        with monkeypatch.context() as patched:
            for module, what, value in changed:
                patched.setattr(module, what, value)
            made = quantized(nodes, calibration)
        errors[name] = judge(lambda lr, made=made: simulate(made, lr), network, judged)  # type: ignore[misc]
        print(f"{name}: " + ", ".join(f"{value:.3f}" for value in errors[name]), flush=True)
    least, photographs = (
        errors.pop(f"on rounded inputs, {which}")[0] for which in ("as it is", "photographs alone")
    )
    assert least < 0.8 * errors["nearest"][0]
    assert least < 1.05 * photographs, "text among the inputs costs photographs"
    assert all(least < error for error, _ in errors.values())
