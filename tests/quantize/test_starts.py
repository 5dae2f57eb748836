"""Of several starts the nearest is kept, found again after an interruption, and not mixed with others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models import SpanDeploy
from models.errors import InputError
from quantize import QuantizedSpan, load_quantized, ptq, quantize_ptq, starts
from quantize.calibration import CalibrationSet
from quantize.start_file import start_path
from quantize.starts import distance

STARTS = 3


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little effort, but several starts and no learning."""
    row = replace(ptq.EFFORTS["smoke"], starts=STARTS, steps=0)
    monkeypatch.setitem(ptq.EFFORTS, "smoke", row)


def _alone(network: SpanDeploy, frames: list[np.ndarray], seed: int) -> QuantizedSpan:
    """One start, without the choice among them."""
    row = replace(ptq.EFFORTS["smoke"], starts=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ptq.EFFORTS, "smoke", row)
        return quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", seed=seed)


def _same(one: QuantizedSpan, other: QuantizedSpan) -> bool:
    return one.activations == other.activations and all(
        torch.equal(weight.values, other.weights[name].values) for name, weight in one.weights.items()
    )


def test_the_nearest_of_several_is_kept(network: SpanDeploy, frames: list[np.ndarray], several: None) -> None:
    made = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", seed=5)
    judged = starts._judged_on(network, CalibrationSet.of(frames, seed=5))
    candidates = [_alone(network, frames, starts.seed_of_start(5, number)) for number in range(STARTS)]
    found = [distance(network, candidate, *judged) for candidate in candidates]
    assert len(set(found)) == STARTS, "starts that do not differ prove nothing"
    assert _same(made, candidates[found.index(min(found))])
    assert (made.provenance.starts, made.provenance.start) == (STARTS, found.index(min(found)))
    assert "best of 3 starts, 0 steps, seed 5" in made.provenance.search


def test_a_stopped_search_goes_on_with_the_best_so_far(
    network: SpanDeploy, frames: list[np.ndarray], several: None, tmp_path: Path
) -> None:
    whole = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    state, made = tmp_path / "state", []

    def stopping(*arguments: Any, **settings: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(settings)
        return prepare(*arguments, **settings)

    prepare = ptq.prepare
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ptq, "prepare", stopping)
        quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", resume=state)
    assert load_quantized(start_path(state)).provenance.starts == 2
    with pytest.raises(InputError, match="belongs to another search .*recipe"):
        quantize_ptq(network, recipe="w8", images=frames, effort="smoke", resume=state)
    made.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ptq, "prepare", stopping)
        resumed = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke", resume=state)
    assert len(made) == STARTS - 2
    assert _same(resumed, whole) and resumed.provenance == whole.provenance
    assert not list(tmp_path.iterdir())


def test_a_finished_search_is_neither_made_nor_judged_again(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    calibration = CalibrationSet.of(frames)
    done = _alone(network, frames, 0)
    done = replace(done, provenance=replace(done.provenance, starts=STARTS, start=1))
    kept = starts.Kept(path=tmp_path / "kept", recipe="w8a8", record=done.provenance)
    kept.save(done)

    def never(*_: object) -> QuantizedSpan:
        raise AssertionError("nothing is left to do")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(starts, "distance", never)
        found = starts.nearest_start(network, calibration, never, starts=STARTS, kept=kept)
    assert _same(found, done) and found.provenance == done.provenance


def test_sixteen_bits_are_nearer_than_eight(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    judged = starts._judged_on(network, CalibrationSet.of(frames))
    eight, sixteen = (
        quantize_ptq(network, recipe=recipe, images=frames, effort="smoke") for recipe in ("w8a8", "w8a16")
    )
    assert distance(network, sixteen, *judged) < distance(network, eight, *judged)
