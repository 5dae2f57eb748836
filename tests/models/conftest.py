"""Small networks of every row of NETWORKS with all weights and biases random, and where their files stand."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models import NETWORKS, Span, SpanConfig

SMALL = {
    name: SpanConfig(
        network=name,
        feature_channels=6,
        concat_channels=5,
        upscale=2,
        normalize=row.normalizes,
        img_range=2.0 if row.normalizes else 255.0,
    )
    for name, row in NETWORKS.items()
}


@pytest.fixture(params=list(NETWORKS))
def config(request: pytest.FixtureRequest) -> SpanConfig:
    """A small config of each network."""
    return SMALL[request.param]


@pytest.fixture
def make_span() -> Callable[[SpanConfig], Span]:
    """A function that makes a training form, every weight and bias from a seeded normal distribution.

    Weights keep the variance of what passes, so that every part is seen in the output.
    """

    def make(config: SpanConfig, seed: int = 0) -> Span:
        generator = torch.Generator().manual_seed(seed)
        span = Span(config)
        with torch.no_grad():
            for parameter in span.parameters():
                spread = parameter[0].numel() ** -0.5 if parameter.ndim == 4 else 0.3
                parameter.normal_(0.0, spread, generator=generator)
        return span.eval()

    return make


@pytest.fixture
def span(config: SpanConfig, make_span: Callable[[SpanConfig], Span]) -> Span:
    """A small random training form of each network."""
    return make_span(config)


@pytest.fixture
def x4_span(make_span: Callable[[SpanConfig], Span]) -> Span:
    """A small random SPAN x4 as published files hold it: official normalization."""
    return make_span(replace(SMALL["span"], upscale=4, img_range=255.0))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test puts its checkpoint."""
    return tmp_path / "network.pth"
