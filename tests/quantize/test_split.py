"""Splits change nothing in float, and are made where they are worth it."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from models import SpanDeploy
from quantize import quantize_ptq, silu, simulate, split
from quantize.graph import SpanNodes
from quantize.quantized import QuantizedSpan
from quantize.ranges import Sample, observe
from quantize.rewrite import rewrite
from quantize.split import TAKES
from quantize.trainable import TrainableSpan


@pytest.fixture
def lr() -> torch.Tensor:
    return torch.rand(2, 3, 13, 17, generator=torch.Generator().manual_seed(1))


def uneven(nodes: SpanNodes, lr: torch.Tensor) -> dict[str, Sample]:
    """Samples of a network whose channels are in no order of their ranges."""
    with torch.no_grad():
        for name in ("block_2.c1_r", "block_1.c3_r"):
            nodes.conv(name).weight *= torch.tensor([1.0, 8, 0.2, 3, 30, 0.5, 2, 0.1]).view(-1, 1, 1, 1)
    return observe(nodes, lr, probes=1)


def tensor_of(nodes: SpanNodes, name: str, lr: torch.Tensor) -> torch.Tensor:
    seen: dict[str, torch.Tensor] = {}
    nodes.run(lr, tensor=lambda tensor, value: seen.setdefault(tensor, value))
    return seen[name]


@pytest.mark.parametrize("kind", ["plain", "tanh", "halves", "quarters", "twin"])
def test_every_form_is_equal_in_float(kind: str, network: SpanDeploy, lr: torch.Tensor) -> None:
    nodes = rewrite(network)
    samples = uneven(nodes, lr)
    expected, ops = nodes(lr), Counter(node.op for node in nodes.nodes)
    silus = list(silu.silus(nodes))
    assert len(silus) == 2 * len({node.name.partition(".")[0] for node in nodes.nodes if "c2_r" in node.name})
    made = nodes
    for one in silus:
        form = silu.forms_of(samples[one.conv], samples[one.name])[kind][1]
        made = silu.with_form(made, one, form)
    assert (made(lr) - expected).abs().max() < 2e-5 * expected.abs().max()
    now = Counter(node.op for node in made.nodes)
    assert now["group"] == len(silus) * silu.GROUPS.get(kind, 0)
    assert (now["concat"] - ops["concat"] == len(silus)) == (kind in silu.GROUPS)
    assert (now["conv2d"] > ops["conv2d"]) == (kind == "twin")
    assert (now["plus_one"] > 0) == (kind == "tanh") or kind in silu.GROUPS
    assert nodes.nodes != made.nodes or kind == "plain"


def test_eight_channels_are_not_split_into_thirds(network: SpanDeploy, lr: torch.Tensor) -> None:
    nodes = rewrite(network)
    samples = observe(nodes, lr, probes=1)
    one = next(silu.silus(nodes))
    assert silu.forms_of(samples[one.conv], samples[one.name]).keys() == {*TAKES} - {"thirds"}
    quarters = torch.split(silu.by_range(samples[one.conv]), 2)
    assert torch.cat(quarters).sort().values.tolist() == [*range(8)]
    factors = silu.group_factors(samples[one.conv], quarters)
    assert factors.unflatten(0, (4, 2)).std(dim=1, correction=0).max() == 0 and factors[-1] == 1


def test_a_group_of_its_own_order_is_taken_back(network: SpanDeploy, lr: torch.Tensor) -> None:
    """The channels are sorted by range; a reader that forgets the order gives another picture."""
    nodes = rewrite(network)
    samples = uneven(nodes, lr)
    one = next(one for one in silu.silus(nodes) if one.conv == "block_2.c1_r")
    form = silu.forms_of(samples[one.conv], samples[one.name])["quarters"][1]
    reach = samples[one.conv].values.abs().amax((0, 2, 3))[form.order].unflatten(0, (4, 2)).amax(1)
    assert torch.equal(reach, reach.sort().values) and reach[0] < 0.1 * reach[-1]
    assert not torch.equal(form.order, torch.arange(8))
    made = silu.with_form(nodes, one, form)
    expected, got = (tensor_of(one, "block_2.c2_r", lr) for one in (nodes, made))
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()
    with torch.no_grad():
        conv = made.conv("block_2.c2_r")
        conv.weight.copy_(conv.weight[:, form.order])
    assert (tensor_of(made, "block_2.c2_r", lr) - expected).abs().max() > 0.1 * expected.abs().max()


def test_an_attention_in_groups_is_equal_in_float(network: SpanDeploy, lr: torch.Tensor) -> None:
    nodes = rewrite(network)
    samples = uneven(nodes, lr)
    expected, found = nodes(lr), list(split.attentions(nodes))
    assert len(found) == (network.config.network == "span")
    for attention in found:
        made = split.with_groups(nodes, attention, samples)
        assert (made(lr) - expected).abs().max() < 2e-5 * expected.abs().max()
        groups = {f"{attention.conv}.{k}" for k in range(4)}
        assert {node.name for node in made.nodes if node.op == "group"} == groups
        assert made.joined()["block_1.attention"] == tuple(f"block_1.attention.{k}" for k in range(4))
        moved = made.conv("conv_1").weight.flatten(1) @ nodes.conv("conv_1").weight.flatten(1).T
        assert not torch.equal(moved.argmax(1), torch.arange(8)), "what is added to it is in the same order"


@pytest.mark.parametrize(("worth", "groups"), [(0.0, True), (float("inf"), False)])
def test_what_a_split_is_worth_decides(
    worth: float, groups: bool, network: SpanDeploy, lr: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = rewrite(network)
    samples = uneven(nodes, lr)
    monkeypatch.setattr(split, "WORTH", worth)
    made = split.split(nodes, samples)
    new = {"block_2.c1_r.0", "block_2.c1_r.plain"} & {*made.tensors()}
    assert bool(new) == groups
    assert (made(lr) - nodes(lr)).abs().max() < 2e-5 * nodes(lr).abs().max()


def test_groups_lower_the_error_of_uneven_channels(network: SpanDeploy, lr: torch.Tensor) -> None:
    nodes = rewrite(network)
    samples = uneven(nodes, lr)
    one = next(one for one in silu.silus(nodes) if one.conv == "block_2.c1_r")
    forms = silu.forms_of(samples[one.conv], samples[one.name])
    errors = {kind: price for kind, (price, _) in forms.items()}
    assert errors["twin"] < 0.5 * errors["plain"] and errors["quarters"] < 0.75 * errors["plain"]
    assert errors["quarters"] < errors["halves"] < errors["plain"]


@pytest.fixture
def quantized(
    network: SpanDeploy, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., QuantizedSpan]:
    monkeypatch.setattr(split, "WORTH", 0.0)
    monkeypatch.setattr(split, "TAKES", {**split.TAKES, "twin": 1e12})
    return lambda: quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")


def test_joined_tensors_have_one_scale_that_learns(quantized: Callable[..., QuantizedSpan]) -> None:
    from quantize.ptq import Start, one_scale
    from quantize.recipe import recipe_named

    made = quantized()
    start = Start(nodes=made.network, weights=made.weights, activations=made.activations)
    trainable = TrainableSpan(start, recipe_named("w8a8"))
    same = one_scale(made.network)
    silus = {name: first for name, first in same.items() if name.endswith("silu")}
    assert silus and set(silus.values()) <= {*trainable.learned_tensors}
    assert not set(same) & {*trainable.learned_tensors}
    with torch.no_grad():
        trainable.log_scales += 0.5
    moved = trainable.activations()
    for name, first in same.items():
        assert moved[name] == moved[first]
    for node in made.network.nodes:
        if node.op in ("group", "times"):
            assert moved[node.name].scale == pytest.approx(moved[node.inputs[0]].scale * node.factor)
    assert any(node.op == "group" for node in made.network.nodes)
    lr = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(2))
    trained = trainable.eval()(lr)
    assert torch.equal(trained, simulate(trainable.quantized(), lr))
