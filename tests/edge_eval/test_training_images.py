"""Images that training reads, and the same made smaller."""

import numpy as np
import pytest

from edge_eval.resize import downscale
from edge_eval.training_images import of_text, with_smaller
from models import SpanDeploy
from models.training import TrainingPair

SCALE = 2


@pytest.fixture
def pairs() -> list[TrainingPair]:
    """A large photograph, and one that is too small to be made smaller."""
    random = np.random.default_rng(0)
    made = []
    for name, side in (("large", 120), ("small", 40)):
        hr = random.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
        made.append(TrainingPair(name=name, lr=downscale(hr, SCALE), hr=hr))
    return made


def test_smaller_photographs_stand_beside_their_own(pairs: list[TrainingPair]) -> None:
    told: list[str] = []
    found = with_smaller(
        pairs,
        (0.7, 0.5),
        scale=SCALE,
        least=16,
        stage="smaller",
        progress=lambda *given: told.append(given[0]),
    )
    assert [pair.name for pair in found] == ["large", "small", "large x0.7", "large x0.5"]
    assert found[:2] == tuple(pairs) and told == ["smaller", "smaller"]
    for pair, side in zip(found[2:], (84, 60), strict=True):
        assert pair.hr.shape[0] == side and pair.hr.dtype == np.uint8
        assert pair.lr.shape[:2] == (pair.hr.shape[0] // SCALE, pair.hr.shape[1] // SCALE)
        np.testing.assert_array_equal(pair.lr, downscale(pair.hr, SCALE))


def test_without_sizes_nothing_is_added(pairs: list[TrainingPair]) -> None:
    assert with_smaller(pairs, (), scale=SCALE, least=16, stage="smaller") == tuple(pairs)


def test_pages_of_text_are_those_that_the_network_masters(network: SpanDeploy) -> None:
    told: list[int] = []
    found = of_text(network, 6, side=24, seed=1, stage="text", progress=lambda *given: told.append(given[1]))
    scale = network.config.upscale
    assert len(found) == 3 and told == [1, 2, 3, 4, 5, 6]
    for pair in found:
        assert pair.lr.shape == (24, 24, 3) and pair.hr.shape == (24 * scale, 24 * scale, 3)
        np.testing.assert_array_equal(pair.lr, downscale(pair.hr, scale))
    again = of_text(network, 6, side=24, seed=1, stage="text")
    assert [pair.name for pair in again] == [pair.name for pair in found]
    np.testing.assert_array_equal(again[1].hr, found[1].hr)
