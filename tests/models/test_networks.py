"""The networks: against an independent forward on real weights, and what the later stages rely on."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from models import NETWORKS, Span, SpanConfig, SpanDeploy, load_checkpoint, reparameterize

PUBLISHED = {
    "spanx4_ch48_deploy.pth": SpanConfig(),
    "spanx2_ch48_deploy.pth": SpanConfig(upscale=2),
    "ntire2025_team46_span_ch28.pth": SpanConfig(feature_channels=28, concat_channels=20),
    "ntire2025_team24_spanf_ch32.pth": SpanConfig(
        network="spanf", feature_channels=32, concat_channels=32, normalize=False
    ),
}

Weights = Mapping[str, Tensor]


def conv(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A folded or training-form convolution, straight from the checkpoint's tensors."""
    if f"{name}.sk.weight" in weights:
        y = functional.pad(x, (1, 1, 1, 1))
        for i in range(3):
            y = functional.conv2d(y, weights[f"{name}.conv.{i}.weight"], weights[f"{name}.conv.{i}.bias"])
        return y + functional.conv2d(x, weights[f"{name}.sk.weight"], weights[f"{name}.sk.bias"])
    return functional.conv2d(
        x, weights[f"{name}.eval_conv.weight"], weights[f"{name}.eval_conv.bias"], padding=1
    )


def spab(weights: Weights, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    one = conv(weights, f"{name}.c1_r", x)
    one = one * torch.sigmoid(one)
    two = conv(weights, f"{name}.c2_r", one)
    two = two * torch.sigmoid(two)
    three = conv(weights, f"{name}.c3_r", two)
    return (three + x) * (torch.sigmoid(three) - 0.5) if three.shape == x.shape else three, one


def span_oracle(weights: Weights, x: Tensor, scale: int, img_range: float = 255.0) -> Tensor:
    mean = torch.tensor([0.4488, 0.4371, 0.4040], dtype=x.dtype).reshape(1, 3, 1, 1)
    first = conv(weights, "conv_1", (x - mean) * img_range)
    one, _ = spab(weights, "block_1", first)
    two, _ = spab(weights, "block_2", one)
    three, _ = spab(weights, "block_3", two)
    four, _ = spab(weights, "block_4", three)
    five, _ = spab(weights, "block_5", four)
    six, inner = spab(weights, "block_6", five)
    six = conv(weights, "conv_2", six)
    joined = torch.cat((first, six, one, inner), 1)
    joined = functional.conv2d(joined, weights["conv_cat.weight"], weights["conv_cat.bias"])
    out = functional.conv2d(joined, weights["upsampler.0.weight"], weights["upsampler.0.bias"], padding=1)
    return functional.pixel_shuffle(out, scale)


def spanf_oracle(weights: Weights, x: Tensor, scale: int) -> Tensor:
    near = functional.conv2d(x, weights["conv_near.weight"], padding=1, groups=3)
    one, _ = spab(weights, "block_1", x)
    two, _ = spab(weights, "block_2", one)
    three, _ = spab(weights, "block_3", two)
    four, _ = spab(weights, "block_4", three)
    five, _ = spab(weights, "block_5", four)
    joined = torch.cat((near, five, one), 1)
    joined = functional.conv2d(joined, weights["conv_cat.weight"], weights["conv_cat.bias"])
    return functional.pixel_shuffle(conv(weights, "conv_2", joined), scale)


def oracle(config: SpanConfig, weights: Weights, x: Tensor) -> Tensor:
    if config.network == "spanf":
        return spanf_oracle(weights, x, config.upscale)
    return span_oracle(weights, x, config.upscale, config.img_range)


def published_weights(path: Path) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    return content.get("params_ema", content)


def smooth_image(height: int = 24, width: int = 20) -> Tensor:
    coarse = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(5))
    return functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_compute_what_the_oracle_computes(shared_weights: Path, name: str) -> None:
    checkpoint = load_checkpoint(shared_weights / name)
    assert checkpoint.config == PUBLISHED[name]
    assert checkpoint.form == "folded"
    weights = {key: value.double() for key, value in published_weights(shared_weights / name).items()}
    image = smooth_image().double()
    expected = oracle(checkpoint.config, weights, image)
    network = reparameterize(checkpoint.network).double()
    # The mean is held in float32; the oracle's is float64.
    assert (network(image) - expected).abs().max() < 1e-4
    with torch.no_grad():
        assert (reparameterize(checkpoint.network)(image.float()) - expected).abs().max() < 1e-3
    enlarged = functional.interpolate(image, scale_factor=checkpoint.config.upscale, mode="bicubic")
    assert (expected - enlarged).abs().mean() < 0.05, (
        "the weights and the normalization do not belong together"
    )


def test_the_concat_wants_the_activated_convolution(shared_weights: Path) -> None:
    """Negative control: with block 6's first convolution taken before its SiLU the image is another one."""
    weights = published_weights(shared_weights / "spanx4_ch48_deploy.pth")
    network = reparameterize(load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth").network)
    image = smooth_image()
    raw: list[Tensor] = []
    network.get_submodule("block_6.c1_r").register_forward_hook(lambda module, given, out: raw.append(out))
    joined: list[Tensor] = []
    network.conv_cat.register_forward_hook(lambda module, given, out: joined.append(given[0]))
    with torch.no_grad():
        right = network(image)
        wrong_input = torch.cat([joined[0][:, :144], raw[0]], dim=1)
        wrong = network.upsampler(network.conv_cat(wrong_input))
    assert (right - span_oracle(weights, image, 4)).abs().max() < 1e-3
    assert (right - wrong).abs().max() > 0.05


def test_training_form_computes_what_the_oracle_computes(
    config: SpanConfig, make_span: Callable[[SpanConfig], Span]
) -> None:
    span = make_span(config).double()
    image = smooth_image(9, 11).double()
    expected = oracle(config, dict(span.named_parameters()), image)
    assert (span(image) - expected).abs().max() < 1e-6 * expected.abs().max()


@pytest.mark.parametrize("upscale", [1, 2, 3, 4, 5])
def test_any_upscale_and_channels(config: SpanConfig, upscale: int) -> None:
    config = replace(
        config, upscale=upscale, in_channels=1, out_channels=1, rgb_mean=(0.43,), feature_channels=7
    )
    assert SpanDeploy(config)(torch.rand(2, 1, 5, 6)).shape == (2, 1, 5 * upscale, 6 * upscale)


def test_a_mean_per_channel_is_wanted() -> None:
    with pytest.raises(ValueError, match="3 means for 1 input channels"):
        SpanDeploy(SpanConfig(in_channels=1))


def test_forward_has_no_side_effects(span: Span) -> None:
    for network in (span, reparameterize(span)):
        image = smooth_image(7, 8)
        before = image.clone(), {name: value.clone() for name, value in network.state_dict().items()}
        with torch.no_grad():
            first = network(image)
            again = network(image)
        assert torch.equal(first, again)
        assert torch.equal(image, before[0])
        assert all(torch.equal(before[1][name], value) for name, value in network.state_dict().items())


def test_deploy_exports_without_inplace_operations(span: Span) -> None:
    deploy = reparameterize(span)
    image = smooth_image(8, 9)
    exported = torch.export.export(deploy, (image,))
    targets = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert not [target for target in targets if target.split(".")[1].endswith("_")]
    assert sum("conv2d" in str(node.target) for node in exported.graph.nodes) == len(deploy.convolutions())
    with torch.no_grad():
        assert torch.equal(exported.module()(image), deploy(image))


def test_deploy_exports_with_any_size(span: Span) -> None:
    deploy = reparameterize(span)
    height, width = torch.export.Dim("height", min=4, max=4096), torch.export.Dim("width", min=4, max=4096)
    exported = torch.export.export(deploy, (smooth_image(8, 9),), dynamic_shapes=({2: height, 3: width},))
    other = smooth_image(13, 6)
    with torch.no_grad():
        assert torch.equal(exported.module()(other), deploy(other))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_deploy_can_be_traced(span: Span) -> None:
    deploy = reparameterize(span)
    traced = torch.jit.trace(deploy, smooth_image(8, 9))  # type: ignore[no-untyped-call]
    other = smooth_image(13, 6)
    assert torch.equal(traced(other), deploy(other))


def test_deploy_names_its_convolutions(config: SpanConfig) -> None:
    names = list(SpanDeploy(config).convolutions())
    blocks = 6 if config.network == "span" else 5
    inner = [f"block_{b}.c{c}_r" for b in range(1, blocks + 1) for c in (1, 2, 3)]
    if config.network == "span":
        assert names == ["conv_1", *inner, "conv_2", "conv_cat", "upsampler.0"]
    else:
        assert names == ["conv_near", *inner, "conv_cat", "conv_2"]


def test_receptive_radius_is_exactly_what_an_output_pixel_sees(
    config: SpanConfig, make_span: Callable[[SpanConfig], Span]
) -> None:
    """The gradient of one output pixel is nonzero exactly on the square of that radius."""
    deploy = reparameterize(make_span(replace(config, img_range=1.0))).double()
    radius = deploy.receptive_radius
    assert radius == {"span": 21, "spanf": 16}[config.network]
    size, centre = 2 * radius + 9, radius + 4
    image = torch.rand(1, 3, size, size, dtype=torch.float64, requires_grad=True)
    at = centre * config.upscale + 1
    deploy(image)[0, :, at, at].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert seen.min(0).values.tolist() == [centre - radius] * 2
    assert seen.max(0).values.tolist() == [centre + radius] * 2


def test_every_network_is_told_by_a_part_of_its_own() -> None:
    for name, row in NETWORKS.items():
        for other in NETWORKS:
            parts = SpanDeploy(SpanConfig(network=other)).convolutions()
            assert (row.telltale in parts) == (other == name)
