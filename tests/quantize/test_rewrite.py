"""The rewrites change nothing in float, borders included."""

import pytest
import torch

from models import SpanDeploy
from quantize.balance import (
    _share_of_image,
    balance,
    equal_diagonal,
    lean_on_image,
    least_noise_factors,
    mix_channels,
    place_image,
    scale_channels,
    spreading_matrix,
)
from quantize.quantized import QParams
from quantize.ranges import Sample, observe
from quantize.rewrite import MASK, MASKS, OUTPUT_MASK, rewrite


def both(network: SpanDeploy, nodes: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    lr = torch.rand(2, 3, 13, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return network.double()(lr), nodes.double()(lr)


def test_rewritten_network_is_equal_at_every_pixel(network: SpanDeploy) -> None:
    expected, got = both(network, rewrite(network))
    assert (got - expected).abs().max() < 2e-6 * expected.abs().max()


def test_without_8_bit_activations_only_what_weights_gain_from_is_left(network: SpanDeploy) -> None:
    few, plain = rewrite(network), rewrite(network, activation_bits=None)
    expected, got = both(network, plain)
    assert (got - expected).abs().max() < 2e-6 * expected.abs().max()
    assert len(plain.nodes) < len(few.nodes)
    twins = {f"block_1.{name}.plain" for name in ("c1_r", "c2_r")}
    assert {name for name in plain.conv_names() if plain.conv(name).groups > 1} == twins
    left_out = {node.op for node in few.nodes} - {node.op for node in plain.nodes}
    assert left_out == {"concat", "tanh", "times"}


def test_a_mean_subtracted_outside_the_padding_would_be_seen(network: SpanDeploy) -> None:
    if not network.config.normalize:
        return
    nodes = rewrite(network)
    conv = nodes.conv("conv_1")
    with torch.no_grad():
        conv.bias += conv.weight[:, 3].sum((1, 2))
        conv.weight[:, 3] = 0
    expected, got = both(network, nodes)
    wrong = (got - expected).abs().amax((0, 1))
    assert wrong[0].max() > 1e-4
    assert (
        not any(node.inputs[0] == MASK for node in nodes.nodes if node.name == "conv_1") or wrong.max() > 1e-4
    )


def test_the_network_given_is_left_unchanged(network: SpanDeploy) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    nodes = rewrite(network)
    with torch.no_grad():
        for conv in nodes.convs.values():
            conv.weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_every_operation_has_its_own_name_and_known_inputs(network: SpanDeploy) -> None:
    nodes = rewrite(network).nodes
    names = ["image", *(node.name for node in nodes)]
    assert len(names) == len(set(names))
    for place, node in enumerate(nodes):
        assert set(node.inputs) <= set(names[: place + 1])
    assert names[-1] == "upscaled"


def test_factors_and_mixtures_cancel(network: SpanDeploy) -> None:
    nodes = rewrite(network)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for group in nodes.scaled:
            channels = nodes.conv(group[0]).out_channels
            scale_channels(nodes, group, torch.rand(channels, generator=generator) * 5 + 0.2)
        channels = nodes.conv(nodes.mixed[0]).out_channels
        lean_on_image(nodes, torch.randn(channels, 4, generator=generator))
        mix_channels(
            nodes, nodes.mixed, torch.randn(channels, channels, generator=generator, dtype=torch.float64)
        )
    expected, got = both(network, nodes)
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


def test_balanced_network_is_equal_and_its_channels_are_even(network: SpanDeploy) -> None:
    nodes = rewrite(network)
    lr = torch.rand(2, 3, 24, 24)
    balance(nodes, lr)
    expected, got = both(network, nodes)
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


def test_what_the_pixel_tells_passes_conv_cat_by(network: SpanDeploy) -> None:
    """A linear function of the pixel cannot be seen in the sum any more; the output is what it was."""
    nodes = rewrite(network)
    smooth = torch.nn.functional.interpolate(torch.rand(4, 3, 4, 4), size=(24, 24), mode="bilinear")
    seen: list[torch.Tensor] = []
    for leans in (False, True):
        if leans:
            nodes.mixed, mixed = nodes.mixed[-1:], nodes.mixed
            share = _share_of_image(nodes, smooth)
            nodes.mixed = mixed
            lean_on_image(nodes, share)
        nodes.run(
            smooth, tensor=lambda name, value: (seen.append(value), value)[1] if name == "conv_cat" else value
        )
    pixels = torch.cat([smooth, torch.ones(4, 1, 24, 24)], dim=1)
    told = [
        (one.double().flatten(2) @ pixels.double().flatten(2).transpose(1, 2)).sum(0).abs().max()
        for one in seen
    ]
    assert told[1] < 0.2 * told[0]
    expected, got = both(network, nodes)
    assert (got - expected).abs().max() < 1e-5 * expected.abs().max()


def test_factors_of_least_noise() -> None:
    """Of one tensor they even the channels out; of two with other ranges they are better than either's."""
    generator = torch.Generator().manual_seed(0)
    reach = torch.tensor([0.1, 1.0, 10.0, 3.0])
    values = (torch.rand(4, 4, 16, 16, generator=generator) * 2 - 1) * reach.view(1, -1, 1, 1)
    even = least_noise_factors([Sample(values=values, weights=torch.ones_like(values))])
    assert torch.allclose(even * reach, (even * reach).mean().expand(4), rtol=0.05)
    assert even.log().sum().abs() < 1e-4
    two = [
        Sample(values=values, weights=torch.ones_like(values)),
        Sample(values=values / reach.view(1, -1, 1, 1), weights=torch.ones_like(values)),
    ]
    factors = {"chosen": least_noise_factors(two), "even": even, "none": torch.ones(4)}

    def cost(factor: torch.Tensor) -> float:
        scaled = [one.values * factor.view(1, -1, 1, 1) for one in two]
        return sum(float((one.amax() - one.amin()) ** 2 * (1 / factor**2).sum()) for one in scaled)

    costs = {name: cost(factor) for name, factor in factors.items()}
    assert costs["chosen"] < 0.7 * min(costs["even"], costs["none"])


def test_no_factors_where_no_rounding_matters() -> None:
    values = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    factors = least_noise_factors([Sample(values=values, weights=torch.zeros_like(values))])
    assert torch.equal(factors, torch.ones(3))


def test_factors_for_weights_alone(network: SpanDeploy) -> None:
    """Strong inputs with small weights: factors make the weights' steps fine where it matters."""
    nodes = rewrite(network, activation_bits=None).float()
    conv, group = nodes.conv("block_1.c2_r"), nodes.scaled[0]
    strength = torch.logspace(-1, 1, conv.in_channels)
    scale_channels(nodes, group, strength)
    lr = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(6))

    def error() -> float:
        found = observe(nodes, lr)
        step = conv.weight.abs().amax((1, 2, 3), keepdim=True) / 127
        moved = torch.round(conv.weight / step) * step - conv.weight
        power = found[nodes.input_of("block_1.c2_r")].values.square().mean((0, 2, 3))
        cost = found["block_1.c2_r"].weights.sum((0, 2, 3))
        return float((moved.square() * power.view(1, -1, 1, 1)).sum((1, 2, 3)) @ cost)

    before, expected = error(), nodes(lr)
    balance(nodes, lr, activation_bits=None)
    assert error() < 0.3 * before
    assert (nodes(lr) - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize(
    "grid",
    [
        QParams(scale=0.0037, zero_point=-123),
        QParams(scale=0.0037, zero_point=-128),
        QParams(scale=0.1, zero_point=3),
        QParams(scale=0.002, zero_point=127),
    ],
)
def test_the_image_keeps_its_integers_on_any_grid(grid: QParams, network: SpanDeploy) -> None:
    nodes = rewrite(network)
    pixels = torch.randint(0, 256, (1, 3, 9, 11), generator=torch.Generator().manual_seed(3))
    lean_on_image(
        nodes, torch.randn(nodes.channels("conv_cat"), 4, generator=torch.Generator().manual_seed(5))
    )
    expected = nodes(pixels / 255)
    samples = observe(nodes, pixels / 255, probes=1)
    masks = {name: mask for name, parts in nodes.joined().items() for mask in MASKS if mask in parts}
    assert OUTPUT_MASK in masks.values()
    place_image(nodes, (samples,), dict.fromkeys(nodes.tensors(), grid))
    assert (nodes(pixels / 255) - expected).abs().max() < 2e-5 * expected.abs().max()
    seen: dict[str, torch.Tensor] = {}
    nodes.run(pixels / 255, tensor=lambda name, value: seen.setdefault(name, value))
    for tensor in (*masks, *masks.values()):
        assert torch.allclose(samples[tensor].values, seen[tensor], rtol=1e-5, atol=1e-2 * grid.scale)
    for mask in masks.values():
        integers = seen[mask] / grid.scale + grid.zero_point
        assert (integers[:, :3] - (pixels - 128)).abs().max() < 1e-3
        assert ((integers[:, 3] - integers[0, 3, 0, 0]).abs() < 1e-3).all()
        assert grid.quant_min - 1e-3 <= integers.min() and integers.max() <= grid.quant_max + 1e-3
        with torch.no_grad():
            nodes.conv(mask).bias[-1] = 0
        assert (nodes(pixels / 255) - expected).abs().max() > 1e-3 * expected.abs().max()


def test_channels_by_where_they_come_from(network: SpanDeploy) -> None:
    nodes = rewrite(network)
    seen: dict[str, torch.Tensor] = {}
    nodes.run(torch.rand(1, 3, 4, 5), tensor=lambda name, value: seen.setdefault(name, value))
    assert {name: nodes.channels(name) for name in seen} == {name: v.shape[1] for name, v in seen.items()}
    for name, value in seen.items():
        parts = nodes.parts(name)
        assert torch.equal(torch.cat([seen[source] for source in parts], dim=1), value)
        assert all(torch.equal(value[:, at], seen[source]) for source, at in parts.items())


def test_equal_diagonal() -> None:
    power = torch.tensor([100.0, 5, 1, 0.1, 0.01], dtype=torch.float64)
    turn = equal_diagonal(torch.diag(power))
    assert torch.allclose(turn @ turn.T, torch.eye(5, dtype=torch.float64))
    assert torch.allclose((turn @ torch.diag(power) @ turn.T).diagonal(), power.mean().expand(5))


def test_spreading_lowers_the_noise_of_a_strong_component() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(6, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    moments, gain = a @ torch.diag(torch.tensor([100.0, 1, 1, 1, 1, 1]).double()) @ a.T, b @ b.T
    mixture = spreading_matrix(moments, gain)
    inverse = torch.linalg.inv(mixture)
    assert torch.allclose((mixture @ moments @ mixture.T).diagonal(), torch.ones(6, dtype=torch.float64))
    scaled = torch.diag(moments.diagonal().rsqrt())
    only_scaled = torch.linalg.inv(scaled)
    assert torch.trace(inverse.T @ gain @ inverse) < torch.trace(only_scaled.T @ gain @ only_scaled)
