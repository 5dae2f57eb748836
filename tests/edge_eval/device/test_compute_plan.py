"""Core ML's compute plan, read from the structures that coremltools documents; no Mac is needed for that."""

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, get_args

import click.testing
import pytest

from edge_eval.cli import span_edge
from edge_eval.device import compute_plan as plans
from edge_eval.device.compute_plan import ComputePlan, PlannedOperation, compute_plan
from edge_eval.runtimes.coreml_units import RUNTIME_OF_UNITS, Units
from edge_eval.runtimes.table import RUNTIMES
from models import InputError

OPERATIONS = (
    ("const", None, (), None),
    ("ios17.conv", "MLNeuralEngineComputeDevice", ("CPU", "GPU", "NE"), 0.75),
    ("ios17.pixel_shuffle", "MLGPUComputeDevice", ("CPU", "GPU"), 0.25),
    ("ios17.cast", None, (), None),
)
CLASSES = {
    "CPU": "MLCPUComputeDevice",
    "GPU": "MLGPUComputeDevice",
    "NE": "MLNeuralEngineComputeDevice",
}


def device(name: str) -> object:
    """An object of a class of coremltools' name."""
    return type(name, (), {})()


class RecordedPlan:
    """What `MLComputePlan.load_from_path` gives, as `coremltools/models/compute_plan.py` describes it."""

    asked: tuple[Any, ...] = ()

    def __init__(self, program: object) -> None:
        self.model_structure = SimpleNamespace(neuralnetwork=None, program=program, pipeline=None)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> object:
        _, preferred, supported, _ = OPERATIONS[operation.index]
        if preferred is None:
            return None
        return SimpleNamespace(
            preferred_compute_device=device(preferred),
            supported_compute_devices=[device(CLASSES[name]) for name in supported],
        )

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> object:
        cost = OPERATIONS[operation.index][3]
        return None if cost is None else SimpleNamespace(weight=cost)


def program() -> SimpleNamespace:
    """A program of `OPERATIONS`."""
    operations = [
        SimpleNamespace(index=index, operator_name=row[0], outputs=[SimpleNamespace(name=f"out_{index}")])
        for index, row in enumerate(OPERATIONS)
    ]
    return SimpleNamespace(functions={"main": SimpleNamespace(block=SimpleNamespace(operations=operations))})


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """This computer is a Mac whose Core ML gives a recorded plan, of a given program."""

    def install(of: object) -> None:
        def load_from_path(path: str, compute_units: Any) -> RecordedPlan:
            RecordedPlan.asked = (path, compute_units)
            if isinstance(of, Exception):
                raise of
            return RecordedPlan(of)

        module = ModuleType("coremltools.models.compute_plan")
        module.MLComputePlan = SimpleNamespace(load_from_path=load_from_path)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "coremltools.models.compute_plan", module)
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        units = {name: f"unit {name}" for name in get_args(Units)}
        monkeypatch.setattr(plans, "load_coremltools", lambda: SimpleNamespace(ComputeUnit=units))
        compiled = SimpleNamespace(get_compiled_model_path=lambda: "/compiled.mlmodelc")
        monkeypatch.setattr(plans, "load_model", lambda path, units: compiled)

    return install


def test_operations_are_read_with_who_runs_them(mac: Callable[[object], None]) -> None:
    mac(program())
    plan = compute_plan(Path("a.mlpackage"), "CPU_AND_NE")
    assert RecordedPlan.asked == ("/compiled.mlmodelc", "unit CPU_AND_NE")
    assert plan.operations == (
        PlannedOperation(name="out_1", op="conv", device="NE", supported=("CPU", "GPU", "NE"), cost=0.75),
        PlannedOperation(name="out_2", op="pixel_shuffle", device="GPU", supported=("CPU", "GPU"), cost=0.25),
        PlannedOperation(name="out_3", op="cast", device=None, supported=(), cost=None),
    )
    assert plan.to_json()["devices"] == {
        "NE": {"operations": 1, "cost": 0.75},
        "GPU": {"operations": 1, "cost": 0.25},
        "unknown": {"operations": 1, "cost": 0.0},
    }


def test_what_keeps_off_the_neural_engine_is_said(mac: Callable[[object], None]) -> None:
    mac(program())
    assert list(compute_plan(Path("a.mlpackage"), "ALL").lines()) == [
        "a.mlpackage, ALL: NE 1 (75% of the estimated time), GPU 1 (25% of the estimated time), "
        "unknown 1 (0% of the estimated time)",
        "  the Neural Engine does not take pixel_shuffle",
    ]
    assert len(list(compute_plan(Path("a.mlpackage"), "CPU_ONLY").lines())) == 1
    empty = ComputePlan(artifact="a", compute_units="ALL", operations=())
    assert list(empty.lines()) == ["a, ALL: no operations"]


def test_a_plan_that_cannot_be_had_is_refused(mac: Callable[[object], None]) -> None:
    mac(None)
    with pytest.raises(InputError, match="a.mlpackage is no ML Program, so it has no plan by operation"):
        compute_plan(Path("a.mlpackage"), "ALL")
    mac(RuntimeError("no\nluck"))
    with pytest.raises(InputError, match="a.mlpackage: Core ML gives no compute plan: no luck"):
        compute_plan(Path("a.mlpackage"), "ALL")


def test_names_in_coremltools_are_those_that_are_read() -> None:
    compute_device = pytest.importorskip("coremltools.models.compute_device")
    from coremltools import ComputeUnit
    from coremltools.models.compute_plan import MLComputePlan

    assert all(hasattr(compute_device, name) for name in plans.DEVICES)
    assert all(unit in ComputeUnit.__members__ for unit in get_args(Units))
    for name in ("load_from_path", "model_structure", *vars(RecordedPlan)):
        if not name.startswith("_") and name != "asked":
            assert hasattr(MLComputePlan, name), name


def test_every_choice_of_processors_has_a_runtime() -> None:
    assert set(RUNTIME_OF_UNITS) == set(get_args(Units))
    assert all(RUNTIMES[name].kind == "coreml" for name in RUNTIME_OF_UNITS.values())


@pytest.mark.skipif(platform.system() == "Darwin", reason="here Core ML runs")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.mlpackage", "--compute-units", "ALL,CPU_ONLY"], "ALL,CPU_ONLY: Core ML runs on macOS only"),
        (["a.tflite", "--compute-units", "ALL"], "is for .mlpackage files; leave a.tflite out"),
        (
            ["a.mlpackage", "--compute-units", "NPU"],
            "NPU is no choice of compute units here; choose from ALL",
        ),
        (["a.mlpackage", "--compute-units", "ALL", "--runtime", "mil"], "leave --runtime out"),
    ],
)
def test_elsewhere_and_for_other_files_it_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    result = click.testing.CliRunner().invoke(span_edge, ["bench", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(platform.system() == "Darwin", reason="here Core ML runs")
def test_without_a_mac_there_is_no_plan() -> None:
    with pytest.raises(InputError, match="compute plan exists on macOS only and this is"):
        compute_plan(Path("a.mlpackage"), "ALL")
