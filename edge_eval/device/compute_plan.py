"""Which processor Core ML means to run each operation on, and which others could: its plan, on macOS."""

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from convert.coreml_library import load_coremltools
from models.errors import InputError

from ..runtimes.coreml import load_model
from ..runtimes.coreml_units import Units

DEVICES = {"MLCPUComputeDevice": "CPU", "MLGPUComputeDevice": "GPU", "MLNeuralEngineComputeDevice": "NE"}
"""coremltools' classes of processors, and what they are called here and in `CPU_AND_NE`."""


@dataclass(frozen=True, kw_only=True)
class PlannedOperation:
    """One operation of the program.

    Attributes:
        name: of its first output.
        op: MIL's name.
        device: where Core ML prefers to run it: `CPU`, `GPU` or `NE`; None where it does not say.
        supported: every processor that could run it.
        cost: its part of the estimated time of all operations, in [0, 1]; None where Core ML does not say.
    """

    name: str
    op: str
    device: str | None
    supported: tuple[str, ...]
    cost: float | None


@dataclass(frozen=True, kw_only=True)
class ComputePlan:
    """One file's operations under one choice of processors.

    Attributes:
        artifact: name of the file.
        compute_units: the processors that were allowed.
        operations: constants are left out, they run nowhere.
    """

    artifact: str
    compute_units: Units
    operations: tuple[PlannedOperation, ...]

    def to_json(self) -> dict[str, Any]:
        """An entry of `compute_plans` of `bench --json`."""
        return {**asdict(self), "devices": self.devices()}

    def devices(self) -> dict[str, dict[str, float]]:
        """By processor, how many `operations` it gets, and the `cost` of those as a part of all."""
        found: dict[str, dict[str, float]] = {}
        for operation in self.operations:
            entry = found.setdefault(operation.device or "unknown", {"operations": 0, "cost": 0.0})
            entry["operations"] += 1
            entry["cost"] += operation.cost or 0.0
        return found

    def lines(self) -> Iterator[str]:
        """What is worth knowing: who runs how much, and what keeps off the best processor."""
        shares = ", ".join(
            f"{name} {entry['operations']:.0f} ({entry['cost']:.0%} of the estimated time)"
            for name, entry in self.devices().items()
        )
        yield f"{self.artifact}, {self.compute_units}: {shares or 'no operations'}"
        if self.compute_units in ("ALL", "CPU_AND_NE"):
            off = sorted({one.op for one in self.operations if one.supported and "NE" not in one.supported})
            if off:
                yield f"  the Neural Engine does not take {', '.join(off)}"


def compute_plan(path: Path, units: Units) -> ComputePlan:
    """Core ML's plan for a file.

    Args:
        path: an `.mlpackage` that is an ML Program.
        units: the processors that Core ML may use.

    Raises:
        InputError: this is no Mac, or Core ML does not take the file, or it is no ML Program.
    """
    if platform.system() != "Darwin":
        raise InputError(
            f"{path}: Core ML's compute plan exists on macOS only and this is {platform.system()}"
        )
    ct = load_coremltools()
    from coremltools.models.compute_plan import MLComputePlan

    model = load_model(path, units)
    try:
        plan = MLComputePlan.load_from_path(
            path=model.get_compiled_model_path(), compute_units=ct.ComputeUnit[units]
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path}: Core ML gives no compute plan: {' '.join(str(error).split())}") from error
    program = plan.model_structure.program
    if program is None:
        raise InputError(
            f"{path} is no ML Program, so it has no plan by operation; convert it with span-edge"
        )
    operations = tuple(_planned(plan, program.functions["main"].block.operations))
    return ComputePlan(artifact=path.name, compute_units=units, operations=operations)


def _planned(plan: Any, operations: Sequence[Any]) -> Iterator[PlannedOperation]:
    for operation in operations:
        if operation.operator_name == "const":
            continue
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
        yield PlannedOperation(
            name=operation.outputs[0].name,
            op=operation.operator_name.rpartition(".")[2],
            device=None if usage is None else _device(usage.preferred_compute_device),
            supported=() if usage is None else tuple(map(_device, usage.supported_compute_devices)),
            cost=None if cost is None else float(cost.weight),
        )


def _device(device: object) -> str:
    name = type(device).__name__
    return DEVICES.get(name, name)
