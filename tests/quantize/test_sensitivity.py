"""Costs of rounding: one row per tensor and layer, dearest first."""

import numpy as np
import pytest

from models import SpanDeploy
from quantize.calibration import CalibrationSet
from quantize.ptq import EFFORTS, assemble, prepare
from quantize.quantized import Provenance
from quantize.recipe import recipe_named
from quantize.sensitivity import drop_db, measure_costs


def test_every_tensor_and_layer_has_a_cost(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    calibration = CalibrationSet.of(frames)
    recipe = recipe_named("w8a8")
    start = prepare(network, recipe, calibration, EFFORTS["smoke"])
    quantized = assemble(start, recipe, Provenance())
    costs = measure_costs(quantized, start.nodes, calibration.crops(2, 24))
    assert {c.name for c in costs if c.kind == "activation"} == set(quantized.activations)
    assert {c.name for c in costs if c.kind == "weight"} == set(quantized.weights)
    assert [c.error for c in costs] == sorted((c.error for c in costs), reverse=True)
    assert {c.name: c.error for c in costs if c.kind == "activation"}["image"] < 1e-3 < costs[0].error


def test_drop_of_an_error_as_large_as_the_networks_own() -> None:
    assert drop_db(255**2 / 1000) == pytest.approx(3.0103, abs=1e-3)
    assert drop_db(0.0) == 0.0
