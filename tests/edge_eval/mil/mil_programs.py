"""Real `.mlpackage` files for tests, built with coremltools' own builder, converter and writer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mil_case import Case, SubByte

TARGETS = {"CoreML5": "iOS15", "CoreML6": "iOS16", "CoreML7": "iOS17", "CoreML8": "iOS18"}
INPUT_TYPES = (np.float16, np.float32, np.int32)
"""What a model's input may be; other types are made from int32 inside the program."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A program that runs cases side by side, with what coremltools thinks of each."""

    path: Path
    feeds: dict[str, np.ndarray]
    given: dict[int, dict[str, Any]]
    defaults: dict[int, dict[str, Any]] = field(default_factory=dict)
    results: dict[int, list[str]] = field(default_factory=dict)


def typed(case: Case, dtype: Any) -> dict[str, Any]:
    """The inputs of a case, its free float arrays in `dtype`."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(one(name, v) for v in value)
        if isinstance(value, SubByte):
            from coremltools.converters.mil.mil import types

            return value.values.astype(getattr(types, f"np_{value.kind}_dtype"))
        if name in case.fixed:
            return value
        if isinstance(value, float) and not isinstance(value, np.generic):
            return np.dtype(dtype).type(value)
        is_free = isinstance(value, np.ndarray | np.generic) and value.dtype == np.float32
        return value.astype(dtype) if is_free else value

    return {name: one(name, value) for name, value in case.inputs.items()}


def save_program(program: Any, path: Path, opset: str) -> Path:
    """Write a coremltools program as it is, with no pass over it but those that writing needs."""
    import coremltools as ct

    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, TARGETS[opset]),
        pass_pipeline=ct.PassPipeline.EMPTY,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def build_cases(cases: Sequence[Case], dtype: Any, opset: str, path: Path) -> Built:
    """One program with every case in it, written to `path`."""
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    mil_types = {
        np.dtype(np.float16): types.fp16,
        np.dtype(np.float32): types.fp32,
        np.dtype(np.int32): types.int32,
    }
    feeds: dict[str, np.ndarray] = {}
    specs = []
    given = {i: typed(case, dtype) for i, case in enumerate(cases)}
    for i, case in enumerate(cases):
        for name in case.variable:
            value = given[i][name]
            for k, array in enumerate(value if isinstance(value, tuple) else (value,)):
                fed = array if array.dtype in INPUT_TYPES else array.astype(np.int32)
                feeds[f"in_{i}_{name}_{k}"] = fed
                specs.append(mb.TensorSpec(fed.shape, dtype=mil_types[fed.dtype]))
    built = Built(path=path, feeds={**feeds, "one": np.ones(3, np.float32)}, given=given)

    def body(**arguments: Any) -> Any:
        for i, case in enumerate(cases):
            bound = {n: _bound(mb, arguments, i, n, v, case) for n, v in given[i].items()}
            results = getattr(mb, case.op)(name=f"case_{i}", **bound)
            results = list(results) if isinstance(results, list | tuple) else [results]
            made = results[0].op
            built.results[i] = [r.name for r in results]
            built.defaults[i] = {
                n: v.val
                for n, v in made.inputs.items()
                if n not in given[i] and v is not None and not n.startswith("_")
            }
        return mb.identity(x=arguments["one"], name="done")

    specs.append(mb.TensorSpec((3,), dtype=types.fp32))
    names = [*feeds, "one"]
    scope: dict[str, Any] = {"body": body}
    exec(f"def main({', '.join(names)}): return body({', '.join(f'{n}={n}' for n in names)})", scope)
    program = mb.program(input_specs=specs, opset_version=getattr(ct.target, TARGETS[opset]))(scope["main"])
    save_program(program, path, opset)
    return built


def _bound(mb: Any, arguments: dict[str, Any], i: int, name: str, value: Any, case: Case) -> Any:
    if name not in case.variable:
        return value
    variables = []
    for k, array in enumerate(value if isinstance(value, tuple) else (value,)):
        variable = arguments[f"in_{i}_{name}_{k}"]
        if array.dtype not in INPUT_TYPES:
            variable = mb.cast(x=variable, dtype=str(array.dtype))
        variables.append(variable)
    return tuple(variables) if isinstance(value, tuple) else variables[0]
