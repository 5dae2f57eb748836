"""A config survives JSON, and JSON that is not one is refused."""

import json

import pytest

from models import NETWORKS, SpanConfig


@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip(network: str) -> None:
    config = SpanConfig(network=network, in_channels=1, rgb_mean=(0.5,), img_range=1.0)  # type: ignore[arg-type]
    assert SpanConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_integers_serve_as_floats() -> None:
    config = SpanConfig.from_json({**SpanConfig().to_json(), "img_range": 1, "rgb_mean": [0, 0, 0]})
    assert isinstance(config.img_range, float)
    assert config.rgb_mean == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("change", [{"upscale": "4"}, {"upscale": 4.0}, {"normalize": 1}, {"extra": 1}])
def test_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="config (keys|values)"):
        SpanConfig.from_json({**SpanConfig().to_json(), **change})


def test_what_differs_is_named() -> None:
    config = SpanConfig()
    assert config.unlike(SpanConfig()) == ""
    other = SpanConfig(upscale=2, img_range=1.0)
    assert config.unlike(other) == "upscale 4, not 2; img_range 255.0, not 1.0"
