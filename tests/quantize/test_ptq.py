"""Post-training quantization of small networks: steps help, runs repeat and resume, bad input is refused."""

import copy
import math
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ImageFont

from models import InputError, SpanDeploy
from models.training import engine
from quantize import quantize_ptq, ranges, rounding, simulate
from quantize.calibration import CalibrationSet
from quantize.graph import IMAGE
from quantize.ptq import EFFORTS, prepare, text_it_masters
from quantize.quantized import QParams, QuantizedSpan, QWeight
from quantize.ranges import (
    EDGES_SHARE,
    NEAR,
    Sample,
    Table,
    around_tables,
    best_range,
    edges_weight,
    observe,
    possible_ranges,
)
from quantize.recipe import recipe_named
from quantize.rewrite import rewrite
from quantize.rounding import DAMPING, SHRINKS, compensated, input_moments, nearest
from quantize.text import FINER, pages, small


def error_of(quantized: QuantizedSpan, network: SpanDeploy, frame: np.ndarray) -> float:
    lr = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        return float((simulate(quantized, lr) - network(lr).clamp(0, 1)).abs().mean() * 255)


@pytest.mark.parametrize("recipe", ["w8", "w8a8", "w8a16", "w8a8_mixed"])
def test_output_is_near_the_float_network(recipe: str, network: SpanDeploy, frames: list[np.ndarray]) -> None:
    quantized = quantize_ptq(network, recipe=recipe, images=frames[:3], effort="smoke")
    assert error_of(quantized, network, frames[3]) < {"w8a8": 3.0, "w8a8_mixed": 3.0}.get(recipe, 1.0)


def test_same_seed_same_numbers(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    runs = [
        quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", seed=seed) for seed in (3, 3, 4)
    ]
    assert runs[0].activations == runs[1].activations
    assert runs[0].activations != runs[2].activations
    assert runs[0].provenance.images_sha256 == runs[2].provenance.images_sha256


def test_mixed_keeps_some_nodes_in_floating_point(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    quantized = quantize_ptq(network, recipe="w8a8_mixed", images=frames, effort="smoke")
    names = [node.name for node in quantized.network.nodes]
    assert 0 < len(quantized.float_nodes) < len(names) / 2
    assert 0 < len(set(names) - set(quantized.activations)) < len(names) / 2
    for name in set(names) - set(quantized.activations):
        readers = quantized.network.consumers(name)
        assert name in quantized.float_nodes
        assert all(reader.name in quantized.float_nodes for reader in readers)


def test_a_stopped_run_goes_on_to_the_same_result(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    factor = engine.step_size_factor

    def stop(*arguments: Any) -> float:
        signal.raise_signal(signal.SIGINT)
        return factor(*arguments)

    state = tmp_path / "state"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine, "step_size_factor", stop)
        quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", resume=state)
    assert state.exists()
    with pytest.raises(InputError, match="belongs to another training: .*recipe was"):
        quantize_ptq(network, recipe="w8", images=frames, effort="smoke", resume=state)
    resumed = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", resume=state)
    assert resumed.activations == whole.activations
    assert all(torch.equal(w.values, whole.weights[n].values) for n, w in resumed.weights.items())
    assert not state.exists() and resumed.method == "ptq"


def test_a_file_that_is_no_state_is_refused(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    (tmp_path / "state").write_bytes(b"something else")
    with pytest.raises(InputError, match="is damaged or not the state of a training"):
        quantize_ptq(network, recipe="w8", images=frames, effort="smoke", resume=tmp_path / "state")


def test_a_network_that_does_not_see_the_image_is_refused(
    network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    blind = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in blind.parameters():
            parameter.zero_()
    with pytest.raises(InputError, match="one flat colour whatever the image"):
        quantize_ptq(blind, recipe="w8", images=frames, effort="smoke")


def test_recipes_without_integers_are_refused(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match="fp16 has no integer weights"):
        quantize_ptq(network, recipe="fp16", images=frames)
    with pytest.raises(InputError, match="there is no recipe 'w4'"):
        quantize_ptq(network, recipe="w4", images=frames)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "no calibration images"),
        ([np.zeros((40, 40, 3), np.float32)], "calibration image 1 is float32"),
        ([np.zeros((40, 40, 3), np.uint8), np.zeros((8, 40, 3), np.uint8)], "calibration image 2 is 8x40"),
    ],
)
def test_unusable_images_are_refused(images: list[np.ndarray], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CalibrationSet.of(images)


def test_crops_repeat_and_are_whole_pixels(frames: list[np.ndarray]) -> None:
    calibration = CalibrationSet.of(frames, seed=1)
    first, again, other = (calibration.crops(3, 20, draw=draw) for draw in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal((first * 255).round() / 255, first)
    assert CalibrationSet.of(frames).sha256 == calibration.sha256
    assert CalibrationSet.of(frames[::-1]).sha256 != calibration.sha256


def test_a_range_ignores_what_does_not_matter() -> None:
    values = torch.cat([torch.linspace(-100, -10, 500), torch.linspace(-1, 1, 500)]).view(1, 1, 1, -1)
    weights = torch.where(values < -5, 0.0, 1.0)
    low, high = best_range(Sample(values=values, weights=weights))
    assert -2 < low < -0.9 and 0.9 < high <= 1.0
    low, _ = best_range(Sample(values=values, weights=torch.ones_like(values)))
    assert low < -90


def test_edges_widen_a_range_as_far_as_they_weigh() -> None:
    values, edges = torch.linspace(-1, 1, 1001).view(1, 1, 1, -1), torch.full((1, 1, 1, 9), 1.8)
    ones = Sample(values=edges, weights=torch.ones_like(edges))
    found = possible_ranges(Sample(values=values, weights=torch.full_like(values, 1e-3)), edges=ones)
    assert found.best()[1] <= 1.02 < found.best(edges_weight=1e-6)[1] < found.best(edges_weight=1)[1] <= 1.85
    assert found.errors_then(0)[0] == found.least < found.errors_then(1)[0]
    assert found.errors_then(0)[1] > found.errors_then(1)[1]


def test_edges_weigh_what_both_errors_together_make_least(monkeypatch: pytest.MonkeyPatch) -> None:
    values, edges = torch.linspace(-1, 1, 1001).view(1, 1, 1, -1), torch.full((1, 1, 1, 9), 1.8)
    ones = Sample(values=edges, weights=torch.ones_like(edges))
    found = possible_ranges(Sample(values=values, weights=torch.full_like(values, 1e-3)), edges=ones)

    def both(weight: float) -> float:
        photographs, text = found.errors_then(weight)
        return math.log(photographs) + EDGES_SHARE * math.log(text)

    monkeypatch.setattr(ranges, "EDGES_PRICE", 9.0)
    chosen = edges_weight([found])
    assert both(chosen) == min(both(weight) for weight in ranges.WEIGHTS_OF_EDGES) < both(0)
    dear = found.errors_then(chosen)[0] / found.least - 1
    monkeypatch.setattr(ranges, "EDGES_PRICE", dear / 2)
    cheaper = edges_weight([found])
    assert cheaper < chosen and found.errors_then(cheaper)[0] <= (1 + dear / 2) * found.least
    assert edges_weight([possible_ranges(Sample(values=values, weights=torch.ones_like(values)))]) == 0


def test_text_is_drawn_and_what_the_network_cannot_show_is_left_out(network: SpanDeploy) -> None:
    drawn = small(pages(8, 24, seed=3))
    assert drawn.shape == (8, 3, 24, 24) and drawn.equal(small(pages(8, 24, seed=3)))
    assert not drawn.equal(small(pages(8, 24, seed=4)))
    assert 0 <= drawn.min() < 0.1 and 0.9 < drawn.max() <= 1
    assert drawn[0].std(0).max() == 0 < drawn[1].std(0).max(), "grey, then in colour"
    assert drawn[0].median() > 0.5 > drawn[2].median(), "on white, on black"
    assert next(pages(1, 24, channels=1)).shape == (24 * FINER, 24 * FINER, 1)
    assert small(pages(2, 24, channels=1)).shape == (2, 1, 24, 24)
    nodes = rewrite(network)
    kept = text_it_masters(nodes, 4, 24, seed=3)
    beyond = [float((out - out.clamp(0, 1)).abs().max()) for out in nodes(drawn)]
    assert kept.equal(drawn[sorted(sorted(range(8), key=beyond.__getitem__)[:4])])


def test_without_freetype_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise ImportError("The _imagingft C module is not installed")

    monkeypatch.setattr(ImageFont, "load_default", missing)
    with pytest.raises(
        InputError, match="Pillow was built without FreeType; install Pillow from PyPI's wheels"
    ):
        next(pages(1, 24))


def test_scales_around_a_table_round_it_least() -> None:
    values = torch.linspace(-1.5, 0.4, 4000).view(1, 1, 1, -1)
    source = Sample(values=values, weights=torch.full_like(values, 1e-9))
    gate = Sample(values=values.tanh(), weights=torch.ones_like(values))
    chosen = QParams(scale=2 / 255, zero_point=70)
    tried = [QParams(scale=1 / n, zero_point=n - 128) for n in range(128, 256)]
    table = Table(samples=[(1.0, source, gate)], function=torch.tanh, gates=tried)
    before, (after,) = around_tables(chosen, [(1.0, source)], [table])

    def error(one: QParams, other: QParams) -> float:
        exact = one.rounded(values).tanh()
        return float((other.rounded(exact) - exact).square().mean())

    assert error(before, after) < 0.6 * error(chosen, tried[0])
    assert before.zero_point == 70 and abs(before.scale / chosen.scale - 1) <= NEAR + 1e-9
    assert after in tried and after.high > 0.35


def test_tables_that_read_groups_of_a_tensor_agree_on_its_scale() -> None:
    """Each would move it to where it alone is rounded least; what both lose together decides."""
    values = torch.linspace(-1.5, 0.4, 4000).view(1, 1, 1, -1)
    chosen, gates = QParams(scale=2 / 255, zero_point=70), [QParams(scale=1 / 128, zero_point=0)]

    def table(factor: float) -> Table:
        function = partial(_tanh_of, factor)
        given = Sample(values=values, weights=torch.full_like(values, 1e-9))
        made = Sample(values=function(values), weights=torch.ones_like(values))
        return Table(samples=[(1.0, given, made)], function=function, gates=gates)

    def error(scale: QParams, one: Table) -> float:
        exact = one.function(scale.rounded(values))
        return float((gates[0].rounded(exact) - exact).square().sum())

    tables, source = [table(1.0), table(0.7)], Sample(values=values, weights=torch.full_like(values, 1e-9))
    alone = [around_tables(chosen, [(1.0, source)], [one])[0] for one in tables]
    together, found = around_tables(chosen, [(1.0, source)], tables)
    assert found == [gates[0], gates[0]]
    lost = [sum(error(scale, one) for one in tables) for scale in (together, *alone)]
    assert alone[0] != alone[1] and lost[0] <= min(lost) + 1e-6


def _tanh_of(factor: float, value: torch.Tensor) -> torch.Tensor:
    return (value * factor).tanh()


def test_weights_predict_the_output_error(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    nodes = rewrite(network)
    crops = CalibrationSet.of(frames).crops(4, 24)
    samples = observe(nodes, crops, probes=8)
    name, generator = "conv_cat", torch.Generator().manual_seed(0)
    disturbance = 1e-3 * torch.randn(samples[name].values.shape, generator=generator)
    predicted = float((samples[name].weights * disturbance.square()).sum())
    from quantize.learn import output_error

    with torch.no_grad():
        disturbed = nodes.run(crops, tensor=lambda n, v: v + disturbance if n == name else v)
        measured = float(output_error(disturbed, nodes(crops))) * 255**2
    assert measured == pytest.approx(predicted, rel=0.25)
    assert samples[IMAGE].values.equal(crops)


def test_compensated_rounding_beats_the_nearest(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    calibration = CalibrationSet.of(frames)
    start = prepare(network, recipe_named("w8"), calibration, EFFORTS["smoke"])
    conv = start.nodes.conv("block_2.c1_r")
    inputs = torch.nn.functional.avg_pool2d(torch.randn(4, 8, 40, 40), 5, 1)
    moments = input_moments(conv, inputs, inputs, torch.ones(4, 8, 36, 36))

    def error(weight: object) -> float:
        difference = weight.kernel() - conv.weight  # type: ignore[attr-defined]
        shift = weight.bias - conv.bias  # type: ignore[attr-defined]
        out = torch.nn.functional.conv2d(inputs, difference, shift, padding=1)
        return float(out.square().mean())

    assert error(compensated(conv, moments)) < 0.7 * error(nearest(conv))


def test_every_channel_has_the_scale_that_costs_least_after_compensation() -> None:
    """Where the strongest inputs have small weights, finer scales are worth clipping the others."""
    generator = torch.Generator().manual_seed(4)
    conv = torch.nn.Conv2d(6, 5, 3, padding=1).requires_grad_(False)
    power = torch.logspace(-2, 1, 6).view(1, -1, 1, 1)
    inputs = torch.randn(4, 6, 30, 30, generator=generator) * power
    conv.weight /= power
    moments = input_moments(conv, inputs, inputs, torch.ones(4, 5, 30, 30))

    def costs(weight: QWeight) -> torch.Tensor:
        moved = torch.cat([(weight.kernel() - conv.weight).flatten(1), (weight.bias - conv.bias)[:, None]], 1)
        damped = moments.rounded + torch.diag(DAMPING * moments.rounded.diagonal())
        return ((moved.double() @ damped) * moved).sum(1)

    with pytest.MonkeyPatch.context() as patch:
        alone = []
        for shrink in SHRINKS:
            patch.setattr(rounding, "SHRINKS", (shrink,))
            alone.append(costs(compensated(conv, moments)))
    chosen, least = costs(compensated(conv, moments)), torch.stack(alone).amin(0)
    assert torch.allclose(chosen, least, rtol=1e-3) and chosen.sum() < 0.7 * alone[0].sum()


@pytest.mark.parametrize("side", [16, 47])
def test_small_images_calibrate_too(network: SpanDeploy, side: int) -> None:
    frames = [np.random.default_rng(1).integers(256, size=(side, side + 3, 3), dtype=np.uint8)]
    made = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    lr = torch.rand(1, 3, 9, 9)
    assert simulate(made, lr).isfinite().all()


def test_learning_that_does_harm_is_not_kept(
    network: SpanDeploy, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantize.qat.STEP_SIZES", {"kernels": 200.0})
    kept = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    start = prepare(network, recipe_named("w8a8"), CalibrationSet.of(frames), EFFORTS["smoke"])
    assert kept.provenance.steps == 0
    assert all(torch.equal(w.values, start.weights[name].values) for name, w in kept.weights.items())
