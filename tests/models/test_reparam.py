"""The fold is exact: kernel algebra against convolutions, and whole networks with their borders."""

import copy

import pytest
import skimage.data
import torch
from torch import nn
from torch.nn import functional

from edge_eval.tolerances import limit
from models import NETWORKS, Conv3XC, Span, SpanConfig, SpanDeploy, fold_conv3xc, folded_state, reparameterize
from models.reparam import add_pointwise, chain_pointwise_first, chain_pointwise_last

F64_RELATIVE, F32_RELATIVE = limit("fold_float64"), limit("fold_float32")


def relative(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(((one - two).abs().max() / two.abs().max()).detach())


def drawn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_conv(in_channels: int, out_channels: int) -> Conv3XC:
    torch.manual_seed(3)
    conv = Conv3XC(in_channels, out_channels).double()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.normal_()
    return conv


def test_chain_pointwise_first() -> None:
    x, kernel, bias = drawn(2, 3, 7, 8, seed=0), drawn(5, 4, 3, 3, seed=1), drawn(5, seed=2)
    point, shift = drawn(4, 3, 1, 1, seed=3), drawn(4, seed=4)
    chained = functional.conv2d(functional.conv2d(x, point, shift), kernel, bias)
    folded = functional.conv2d(x, *chain_pointwise_first(kernel, bias, point, shift))
    assert relative(folded, chained) < limit("fold_step_float64")


def test_chain_pointwise_last() -> None:
    x, kernel, bias = drawn(2, 3, 7, 8, seed=0), drawn(5, 3, 3, 3, seed=1), drawn(5, seed=2)
    point, shift = drawn(4, 5, 1, 1, seed=3), drawn(4, seed=4)
    chained = functional.conv2d(functional.conv2d(x, kernel, bias, padding=1), point, shift)
    folded = functional.conv2d(x, *chain_pointwise_last(kernel, bias, point, shift), padding=1)
    assert relative(folded, chained) < limit("fold_step_float64")


@pytest.mark.parametrize("size", [1, 3, 5])
def test_add_pointwise(size: int) -> None:
    x, kernel, bias = drawn(2, 3, 7, 8, seed=0), drawn(5, 3, size, size, seed=1), drawn(5, seed=2)
    point, shift = drawn(5, 3, 1, 1, seed=3), drawn(5, seed=4)
    added = functional.conv2d(x, kernel, bias, padding=size // 2) + functional.conv2d(x, point, shift)
    folded = functional.conv2d(x, *add_pointwise(kernel, bias, point, shift), padding=size // 2)
    assert relative(folded, added) < limit("fold_step_float64")


@pytest.mark.parametrize(("in_channels", "out_channels"), [(3, 8), (8, 3), (4, 4), (1, 2)])
def test_conv3xc_folds_exactly_with_its_border(in_channels: int, out_channels: int) -> None:
    conv = random_conv(in_channels, out_channels)
    x = drawn(2, in_channels, 6, 9, seed=7)
    folded = functional.conv2d(x, *fold_conv3xc(conv), padding=1)
    assert relative(folded, conv(x)) < F64_RELATIVE


def test_padding_after_the_first_pointwise_would_not_fold() -> None:
    """Negative control: with zeros put where the 3x3 stands, inner pixels agree and the border does not."""
    conv = random_conv(3, 4)
    x = drawn(1, 3, 8, 8, seed=7)
    wrong = conv.conv[2](conv.conv[1](functional.pad(conv.conv[0](x), (1, 1, 1, 1)))) + conv.sk(x)
    folded = functional.conv2d(x, *fold_conv3xc(conv), padding=1)
    assert relative(folded[..., 1:-1, 1:-1], wrong[..., 1:-1, 1:-1]) < F64_RELATIVE
    assert relative(folded, wrong) > limit("fold_negative_control")


def test_gradients_flow_through_the_fold() -> None:
    conv = random_conv(2, 3)
    x = drawn(1, 2, 5, 5, seed=1)
    expected = torch.autograd.grad(conv(x).square().sum(), list(conv.parameters()))
    kernel, bias = fold_conv3xc(conv)
    loss = functional.conv2d(x, kernel, bias, padding=1).square().sum()
    for one, two in zip(torch.autograd.grad(loss, list(conv.parameters())), expected, strict=True):
        assert relative(one, two) < F64_RELATIVE


def test_network_folds_exactly_in_float64(span: Span, config: SpanConfig) -> None:
    span = copy.deepcopy(span).double()
    deploy = SpanDeploy(config).double()
    deploy.load_state_dict(folded_state(span))
    image = torch.rand(2, 3, 13, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert relative(deploy(image), span(image)) < F64_RELATIVE


def test_network_folds_exactly_in_float32(span: Span) -> None:
    image = torch.rand(2, 3, 13, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert relative(reparameterize(span)(image), span(image)) < F32_RELATIVE


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_published_size_fold_exactly_on_a_photograph(name: str) -> None:
    torch.manual_seed(0)
    config = SpanConfig(network=name, normalize=NETWORKS[name].normalizes)
    span = Span(config).eval()
    image = torch.from_numpy(skimage.data.chelsea()[100:160, 100:170].transpose(2, 0, 1)[None].copy()) / 255
    with torch.no_grad():
        assert relative(reparameterize(span)(image), span(image)) < F32_RELATIVE
        exact = copy.deepcopy(span).double()
        deploy = SpanDeploy(config).double()
        deploy.load_state_dict(folded_state(exact))
        assert relative(deploy(image.double()), exact(image.double())) < F64_RELATIVE


def test_a_bias_forgotten_is_seen(span: Span) -> None:
    """Negative control for the tolerance: one folded bias left out of many."""
    image = torch.rand(1, 3, 13, 10, generator=torch.Generator().manual_seed(0))
    deploy = reparameterize(span)
    deploy.get_submodule("block_2.c1_r").bias.zero_()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        assert relative(deploy(image), span(image)) > 10 * F32_RELATIVE


def test_reparameterize_gives_a_new_frozen_float32_network(span: Span) -> None:
    before = copy.deepcopy(span.state_dict())
    deploy = reparameterize(copy.deepcopy(span).double().train())
    assert not deploy.training
    assert all(not p.requires_grad and p.dtype == torch.float32 for p in deploy.parameters())
    assert deploy.mean.dtype == torch.float32
    again = reparameterize(deploy)
    assert again is not deploy
    again.get_submodule("conv_cat").weight.zero_()  # type: ignore[union-attr, operator]
    assert deploy.get_submodule("conv_cat").weight.abs().sum() > 0  # type: ignore[union-attr, operator]
    assert all(torch.equal(before[name], value) for name, value in span.state_dict().items())
    assert all(p.requires_grad for p in span.parameters())


def test_only_our_networks_can_be_folded() -> None:
    with pytest.raises(TypeError, match="cannot fold a Conv2d; a Span or a SpanDeploy is wanted"):
        reparameterize(nn.Conv2d(3, 3, 3))
