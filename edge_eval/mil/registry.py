"""The table of kernels: one per MIL operation, filled by a decorator."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from .program import OPSETS

Tensor = torch.Tensor
Kind = Literal["tensor", "tensors", "int", "float", "bool", "str", "ints", "bools"]
KINDS: dict[Any, Kind] = {
    torch.Tensor: "tensor",
    list[torch.Tensor]: "tensors",
    int: "int",
    float: "float",
    bool: "bool",
    str: "str",
    tuple[int, ...]: "ints",
    tuple[bool, ...]: "bools",
}
"""What a kernel's annotation asks the machine for; all but the first two come as plain Python values."""

Function = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One input of a kernel: what it is given as, and whether it may be left out."""

    kind: Kind
    required: bool
    default: Any


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One MIL operation.

    Attributes:
        operation: MIL's name of it.
        since: row of `OPSETS` from which this form of the operation holds.
        function: takes the operation's inputs by keyword.
        parameters: by input name.
        stored: whether it works on stored values as they are. Else its float16 inputs are widened to float32
            first, and its float results are rounded to float16 if any float input was.
    """

    operation: str
    since: str
    function: Function
    parameters: Mapping[str, Parameter]
    stored: bool

    def __call__(self, inputs: Mapping[str, Any], *, narrow: bool = False) -> tuple[Tensor, ...]:
        """The results for inputs of the right kinds, stored as MIL stores them.

        `narrow` says that float16 is stored although no input tells so: a constant was widened beforehand.
        """
        if self.stored or not (narrow or any(t.dtype == torch.float16 for t in _tensors(inputs.values()))):
            return _as_tuple(self.function(**inputs))
        results = _as_tuple(self.function(**{name: widened(value) for name, value in inputs.items()}))
        return tuple(r.to(torch.float16) if r.is_floating_point() else r for r in results)


_KERNELS: dict[str, list[Kernel]] = {}


def kernel(*, since: str = OPSETS[0], stored: bool = False) -> Callable[[Function], Function]:
    """Make the decorated keyword-only function the kernel of the MIL operation of its name.

    A trailing underscore, and what follows a double underscore, are no part of the operation's name.
    """

    def enter(function: Function) -> Function:
        name = function.__name__.split("__")[0].rstrip("_")
        entry = Kernel(
            operation=name, since=since, function=function, parameters=_parameters(function), stored=stored
        )
        forms = _KERNELS.setdefault(name, [])
        if any(k.since == since for k in forms):
            raise ValueError(f"two kernels for {name} since {since}")
        forms.append(entry)
        forms.sort(key=lambda k: OPSETS.index(k.since))
        return function

    return enter


def all_kernels() -> tuple[Kernel, ...]:
    """Every kernel, sorted by operation, then by operation set."""
    return tuple(k for name in sorted(_KERNELS) for k in _KERNELS[name])


def find_kernel(operation: str, opset: str) -> Kernel | None:
    """The kernel of an operation in the form that `opset` has, or None."""
    age = OPSETS.index(opset)
    forms = [k for k in _KERNELS.get(operation, []) if OPSETS.index(k.since) <= age]
    return forms[-1] if forms else None


def widened(value: Any) -> Any:
    """Float16 tensors as float32, alone or in a list; all else as it is."""
    if isinstance(value, list):
        return [widened(v) for v in value]
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def plain(kind: Kind, values: Sequence[Any]) -> Any:
    """Bound values as a parameter of `kind` takes them: tensors, or plain Python values."""
    if kind == "tensors":
        return list(values)
    value = values[0]
    if kind == "tensor" or isinstance(value, str):
        return value
    if kind in ("ints", "bools"):
        return tuple(value.reshape(-1).tolist())
    item = value.item()
    return float(item) if kind == "float" else item


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        found += [value] if isinstance(value, Tensor) else value if isinstance(value, list) else []
    return found


def _as_tuple(results: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else tuple(results)


def _parameters(function: Function) -> dict[str, Parameter]:
    hints = typing.get_type_hints(function)
    parameters = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(f"kernel {function.__name__}: {name} must be keyword-only")
        required = parameter.default is inspect.Parameter.empty
        hint = hints[name]
        if isinstance(hint, types.UnionType):
            hint = next(h for h in typing.get_args(hint) if h is not type(None))
        default = None if required else parameter.default
        parameters[name] = Parameter(kind=KINDS[hint], required=required, default=default)
    return parameters
