"""Training with the fold inside the graph: output and gradients of the training form, at a lower price."""

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from models import InputError, Span, SpanConfig, SpanDeploy, folded_state, reparameterize
from models.training import FoldedSpan, initialize, with_img_range

CONFIGS = [
    SpanConfig(feature_channels=6, concat_channels=5, upscale=2),
    SpanConfig(network="spanf", feature_channels=6, concat_channels=12, upscale=2, normalize=False),
]
F64_RELATIVE = 1e-9


def gradients(network: nn.Module, span: Span, lr: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of a loss whose every output pixel counts differently, so that borders matter too."""
    span.zero_grad()
    output = network(lr)
    weights = torch.linspace(0.5, 1.5, output.numel(), dtype=lr.dtype).view_as(output)
    torch.autograd.backward((output.square() * weights).mean())
    return {
        name: parameter.grad.clone()
        for name, parameter in span.named_parameters()
        if parameter.grad is not None
    }


def worst(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max() / one[name].abs().max()) for name in one)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.network)
def test_gradients_are_those_of_the_training_form(config: SpanConfig) -> None:
    torch.manual_seed(0)
    span = Span(config).double()
    lr = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    branches = gradients(span, span, lr)
    assert len(branches) == len(list(span.parameters()))
    assert worst(branches, gradients(FoldedSpan(span), span, lr)) < F64_RELATIVE


def test_wrong_fold_gives_other_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    span = Span(CONFIGS[0]).double()
    lr = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    branches = gradients(span, span, lr)

    def wrong(network: Span) -> dict[str, torch.Tensor]:
        state = folded_state(network)
        return state | {"block_2.c2_r.weight": 1.01 * state["block_2.c2_r.weight"]}

    monkeypatch.setattr("models.training.folding.folded_state", wrong)
    assert worst(branches, gradients(FoldedSpan(span), span, lr)) > 1e-3


def test_only_the_branches_are_parameters() -> None:
    span = Span(CONFIGS[0])
    folded = FoldedSpan(span)
    assert {name for name, _ in folded.named_parameters()} == {
        f"span.{name}" for name, _ in span.named_parameters()
    }


def test_autocast_leaves_the_fold_in_float32() -> None:
    torch.manual_seed(0)
    span = Span(replace(CONFIGS[0], img_range=1.0))
    lr = torch.rand(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = FoldedSpan(span)(lr)
    assert half.dtype == torch.bfloat16
    half, full = half.float().detach(), FoldedSpan(span)(lr).detach()
    assert float((half - full).abs().max()) < 0.02 * float(full.abs().max())


def config(**changes: int) -> SpanConfig:
    return replace(SpanConfig(feature_channels=8, concat_channels=8, upscale=3, img_range=1.0), **changes)


def smooth(count: int = 2, side: int = 16) -> torch.Tensor:
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    return nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(0, 1)


def test_initialized_network_upscales_bilinearly() -> None:
    lr = smooth()
    span = initialize(config(), seed=3, sample=lr)
    # Features beside the image's own start at a tenth, so the output is bilinear up to that noise.
    with torch.no_grad():
        dict(span.named_parameters())["upsampler.0.weight"][:, 3:] = 0
        upscaled = span(lr)
    bilinear = nn.functional.interpolate(lr, scale_factor=3, mode="bilinear")
    inside = (..., slice(3, -3), slice(3, -3))
    assert float((upscaled - bilinear)[inside].abs().max()) < 1e-5


def test_initialized_blocks_neither_vanish_nor_grow() -> None:
    lr = smooth()
    span = initialize(config(), seed=3, sample=lr)
    torch.manual_seed(3)
    plain = Span(config())
    ours, default = (_last_block_std(network, lr) for network in (span, plain))
    assert 0.3 < ours < 3
    assert default < 0.1, "the default initialization is what this test tells ours from"


def _last_block_std(network: Span, lr: torch.Tensor) -> float:
    seen = []
    handle = network.get_submodule("block_6").register_forward_hook(
        lambda _m, _i, output: seen.append(output[0])
    )
    with torch.no_grad():
        network(lr)
    handle.remove()
    return float(seen[0].std())


def test_initialization_depends_on_the_seed_alone() -> None:
    lr = smooth()
    first, again, other = (initialize(config(), seed=seed, sample=lr).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_networks_that_cannot_be_initialized_are_refused() -> None:
    with pytest.raises(InputError, match=r"at least 3 feature and concat channels"):
        initialize(config(feature_channels=2), seed=0, sample=smooth())


def test_img_range_can_be_moved_into_the_first_convolution() -> None:
    lr = smooth()
    span = initialize(config(), seed=3, sample=lr)
    published = with_img_range(span, 255.0)
    assert published.config.img_range == 255.0
    with torch.no_grad():
        torch.testing.assert_close(published(lr), span(lr), rtol=0, atol=1e-5)
        assert float((published(lr) - Span(config())(lr)).abs().max()) > 1e-2


@pytest.mark.bench
def test_step_time() -> None:
    """Median of a forward and backward pass, 28 channels, 16 crops of 32x32."""
    torch.manual_seed(0)
    span = Span(SpanConfig(feature_channels=28, concat_channels=28, img_range=1.0))
    deploy = reparameterize(span).requires_grad_(True)
    assert isinstance(deploy, SpanDeploy)
    lr = torch.rand(16, 3, 32, 32)
    for name, network in {
        "training form": span,
        "folded in the graph": FoldedSpan(span),
        "folded": deploy,
    }.items():
        for half in (False, True):
            times = []
            for _ in range(6):
                started = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    output = network(lr)
                torch.autograd.backward(output.float().abs().mean())
                times.append(time.perf_counter() - started)
            print(f"{name}, {'bfloat16' if half else 'float32'}: {1e3 * sorted(times[1:])[2]:.0f} ms")
