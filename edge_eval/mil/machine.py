"""Runs an ML Program operation by operation, and holds every result against its declared type."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import InputError

from . import ops as _ops  # noqa: F401 - entering the kernels is its effect
from .features import to_array, to_tensor
from .program import Binding, Constant, Operation, Program, Reference
from .registry import Kernel, all_kernels, find_kernel, plain, widened
from .types import ELEMENT_TYPES, torch_type

FLOAT16_MOST = 65504


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One operation made ready: constants bound, and what may be forgotten after it."""

    operation: Operation
    kernel: Kernel
    bound: Mapping[str, Any]
    awaited: Mapping[str, tuple[Any, ...]]
    narrow: bool
    forget: tuple[str, ...] = field(default=())


class Machine:
    """An ML Program ready to run on the CPU.

    Args:
        program: what to run.
        threads: threads for this machine's runs; by default whatever torch is set to.
        nonfinite: `refuse` stops at the first operation that makes a NaN or an infinity, naming it; `pass`
            lets them through, for programs that mask with infinities.

    Raises:
        InputError: the program uses operations, inputs or types that no kernel takes; all of them are listed.
    """

    def __init__(
        self, program: Program, *, threads: int | None = None, nonfinite: Literal["refuse", "pass"] = "refuse"
    ) -> None:
        self.program = program
        self._threads = threads
        self._nonfinite = nonfinite
        kernels = _find_kernels(program)
        self._folded: dict[str, torch.Tensor | str | list[Any]] = {}
        self._unpacked: dict[str, torch.Tensor] = {}
        self._steps: list[_Step] = []
        with torch.inference_mode():
            for operation in program.operations:
                self._prepare(operation, kernels.get(operation.kind))
        self._steps = _with_forgetting(self._steps, {f.name for f in program.outputs})

    def run(
        self, inputs: Mapping[str, Any], *, keep: bool = False, raw: bool = False
    ) -> dict[str, NDArray[Any]]:
        """The outputs for one set of inputs.

        Args:
            inputs: by name; images as PIL images or `uint8` arrays (H, W, 3) RGB or (H, W) grey, else arrays.
            keep: give every result of the program too, by its name in the program, as it is stored.
            raw: give image outputs as the program computes them, (1, C, H, W), neither clipped nor rounded.

        Returns:
            By name: images as `uint8` (H, W, 3) RGB or (H, W) grey, tensors in their described type.

        Raises:
            InputError: an input is missing, unknown or wrong; a result is not of its declared type, or
                holds a NaN or an infinity.
        """
        with self._on_threads(), torch.inference_mode():
            values: dict[str, Any] = {**self._folded, **self._given(inputs)}
            kept: dict[str, torch.Tensor] = dict(self._unpacked) if keep else {}
            for step in self._steps:
                made = self._apply(step, values)
                values.update(made)
                if keep:
                    kept.update(made)
                for name in step.forget:
                    del values[name]
            results = {name: tensor.numpy() for name, tensor in kept.items()}
            for feature in self.program.outputs:
                results[feature.name] = to_array(feature, values[feature.name], raw=raw)
            return results

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        features = {f.name: f for f in self.program.inputs}
        if set(inputs) != set(features):
            raise InputError(f"the program takes the inputs {sorted(features)}, not {sorted(inputs)}")
        given = {}
        for parameter in self.program.parameters:
            name = parameter.name
            dtype = ELEMENT_TYPES[parameter.type.element].torch
            given[name] = to_tensor(features[name], inputs[name], dtype)
            actual = parameter.type.mismatch(given[name])
            if actual:
                raise InputError(f"input {name!r} is declared {parameter.type}, not {actual}")
        return given

    def _prepare(self, operation: Operation, kernel: Kernel | None) -> None:
        """Turn an operation into a step, or into a constant where all its inputs are constant."""
        if operation.kind == "const":
            constant = operation.inputs["val"][0]
            assert isinstance(constant, Constant)
            self._folded[operation.results[0].name] = _held(constant)
            return
        assert kernel is not None
        bound: dict[str, Any] = {}
        awaited: dict[str, tuple[Any, ...]] = {}
        narrow = False
        for name, bindings in operation.inputs.items():
            values = tuple(self._value_or_reference(b) for b in bindings)
            if any(isinstance(v, Reference) for v in values):
                awaited[name] = values
                continue
            narrow = narrow or any(isinstance(v, torch.Tensor) and v.dtype == torch.float16 for v in values)
            value = plain(kernel.parameters[name].kind, values)
            bound[name] = value if kernel.stored else widened(value)
        narrow = narrow and not kernel.stored
        step = _Step(operation=operation, kernel=kernel, bound=bound, awaited=awaited, narrow=narrow)
        if awaited:
            self._steps.append(step)
        else:
            self._unpacked.update(self._apply(step, {}))
            self._folded.update(self._unpacked)

    def _value_or_reference(self, binding: Binding) -> Any:
        if isinstance(binding, Constant):
            return _held(binding)
        return self._folded.get(binding.name, binding)

    def _apply(self, step: _Step, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The named results of one step, each checked."""
        inputs = dict(step.bound)
        for name, bindings in step.awaited.items():
            found = [values[b.name] if isinstance(b, Reference) else b for b in bindings]
            inputs[name] = plain(step.kernel.parameters[name].kind, found)
        try:
            results = step.kernel(inputs, narrow=step.narrow)
        except (RuntimeError, ValueError, IndexError) as error:
            raise InputError(f"{_called(step.operation)} cannot be computed: {error}") from error
        declared = step.operation.results
        if len(results) != len(declared):
            raise InputError(
                f"{_called(step.operation)} is declared with {len(declared)} results, not {len(results)}"
            )
        for result, tensor in zip(declared, results, strict=True):
            actual = result.type.mismatch(tensor)
            if actual:
                raise InputError(
                    f"{_called(step.operation)}: {result.name!r} is declared {result.type}, not {actual}"
                )
            if self._nonfinite == "refuse":
                _refuse_nonfinite(step.operation, result.name, tensor)
        return {result.name: tensor for result, tensor in zip(declared, results, strict=True)}

    @contextlib.contextmanager
    def _on_threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _called(operation: Operation) -> str:
    return f"operation {operation.name!r} ({operation.kind})"


def _held(constant: Constant) -> Any:
    """A constant as the machine holds it: a tensor, a string or a list."""
    value = constant.value
    if not isinstance(value, np.ndarray):
        return value
    return torch.from_numpy(np.array(value)).to(torch_type(constant.type.element))


def _refuse_nonfinite(operation: Operation, name: str, tensor: torch.Tensor) -> None:
    """Refuse a float result that holds a NaN or an infinity."""
    if not tensor.is_floating_point() or not tensor.numel():
        return
    least, most = torch.aminmax(tensor)
    if bool(torch.isfinite(least)) and bool(torch.isfinite(most)):
        return
    bad = ~torch.isfinite(tensor)
    kind = "NaN" if bool(tensor.isnan().any()) else "infinity"
    count = f"{int(bad.sum())} of {tensor.numel()} values"
    place = tuple(torch.nonzero(bad)[0].tolist())
    hint = f"; float16 ends at {FLOAT16_MOST}, convert with float32" if tensor.dtype == torch.float16 else ""
    raise InputError(f"{_called(operation)} made {kind} in {count} of {name!r}, first at {place}{hint}")


def _find_kernels(program: Program) -> dict[str, Kernel]:
    """The kernel of every operation kind of the program.

    Raises:
        InputError: kinds, or inputs of kinds, that no kernel takes; one list of all.
    """
    kernels: dict[str, Kernel] = {}
    missing: set[str] = set()
    for operation in program.operations:
        if operation.kind == "const":
            continue
        kernel = find_kernel(operation.kind, program.opset)
        if kernel is None:
            missing.add(operation.kind)
            continue
        kernels[operation.kind] = kernel
        missing.update(_unmet(operation, kernel))
    if missing:
        known = sorted({k.operation for k in all_kernels()})
        raise InputError(
            f"{program.path} uses what is not emulated: {', '.join(sorted(missing))};"
            f" emulated for {program.opset} are {', '.join(known)}"
        )
    return kernels


def _unmet(operation: Operation, kernel: Kernel) -> list[str]:
    """Inputs that the kernel does not know, and inputs it needs that are not bound."""
    unknown = [f"{operation.kind} with {n!r}" for n in operation.inputs if n not in kernel.parameters]
    needed = [n for n, p in kernel.parameters.items() if p.required and n not in operation.inputs]
    return unknown + [f"{operation.kind} without {n!r}" for n in needed]


def _with_forgetting(steps: list[_Step], wanted: set[str]) -> list[_Step]:
    """The steps, each told which values nobody reads after it."""
    seen = set(wanted)
    done: list[_Step] = []
    for step in reversed(steps):
        read = {b.name for bindings in step.awaited.values() for b in bindings if isinstance(b, Reference)}
        names = read | {r.name for r in step.operation.results}
        done.append(_Step(**{**step.__dict__, "forget": tuple(sorted(names - seen))}))
        seen |= names
    return done[::-1]
