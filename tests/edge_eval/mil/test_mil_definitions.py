"""Every kernel's inputs and defaults against coremltools' own operation definitions."""

import dataclasses

import numpy as np
import pytest
import torch
from mil_cases import CASES
from mil_programs import TARGETS

from edge_eval.mil import Machine, load_program
from edge_eval.mil.program import OPSETS
from edge_eval.mil.registry import Kernel, all_kernels, find_kernel, kernel

KERNELS = all_kernels()


def _definitions(entry: Kernel) -> list[dict[str, bool]]:
    """For each operation set that the kernel serves: input names, and whether each is optional."""
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    found = []
    for opset, target in TARGETS.items():
        if find_kernel(entry.operation, opset) is not entry:
            continue
        forms = SSAOpRegistry.core_ops[entry.operation]
        ages = [age for age in forms if age <= getattr(ct.target, target)]
        if not ages:
            continue
        definition = forms[max(ages)]
        inputs = definition.input_spec.input_types
        found.append({name: spec.optional for name, spec in inputs.items() if not name.startswith("_")})
    return found


@pytest.mark.parametrize("entry", KERNELS, ids=[f"{k.operation}-{k.since}" for k in KERNELS])
def test_inputs_are_those_of_the_definition(entry):
    definitions = _definitions(entry)
    assert definitions, "serves no operation set"
    known = {name for definition in definitions for name in definition}
    assert set(entry.parameters) == known
    for name, parameter in entry.parameters.items():
        everywhere = all(name in d and not d[name] for d in definitions)
        assert parameter.required == everywhere, name


@pytest.mark.parametrize("entry", KERNELS, ids=[f"{k.operation}-{k.since}" for k in KERNELS])
def test_kernel_since_is_when_the_definition_begins(entry):
    import coremltools as ct
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    forms = SSAOpRegistry.core_ops[entry.operation]
    if entry.since == OPSETS[0]:
        assert min(forms) <= ct.target.iOS15
    else:
        assert getattr(ct.target, TARGETS[entry.since]) in forms


@pytest.mark.parametrize("opset", ["CoreML6", "CoreML7", "CoreML8"])
def test_defaults_are_those_that_coremltools_fills_in(opset, case_runs):
    built, _ = case_runs(opset, "float32")
    wrong = []
    for index, case in enumerate(c for c in CASES if c.opset == opset):
        for name, value in built.defaults[index].items():
            ours = find_kernel(case.op, opset).parameters[name].default
            if ours is not None and type(value)(ours) != value:
                wrong.append(f"{case.op} {name}: {ours!r}, not {value!r}")
    assert wrong == []


def test_every_plain_default_is_compared_somewhere(case_runs):
    compared = set()
    for opset in ("CoreML5", "CoreML6", "CoreML7", "CoreML8"):
        built, _ = case_runs(opset, "float32")
        for index, case in enumerate(c for c in CASES if c.opset == opset):
            compared |= {(case.op, name) for name in built.defaults[index]}
    plain = {
        (k.operation, name)
        for k in KERNELS
        for name, p in k.parameters.items()
        if not p.required and p.default is not None
    }
    assert plain - compared == set()


@pytest.mark.parametrize("opset", ["CoreML5", "CoreML6", "CoreML7", "CoreML8"])
def test_leaving_out_a_default_changes_nothing(opset, case_runs):
    built, results = case_runs(opset, "float32")
    program = load_program(built.path)
    places = {f"case_{i}": i for i in built.defaults}
    operations = [
        dataclasses.replace(
            op, inputs={n: b for n, b in op.inputs.items() if n not in built.defaults[places[op.name]]}
        )
        if op.name in places
        else op
        for op in program.operations
    ]
    bare = dataclasses.replace(program, operations=tuple(operations))
    again = Machine(bare).run(built.feeds, keep=True)
    for names in built.results.values():
        for name in names:
            np.testing.assert_array_equal(again[name], results[name])


def test_one_operation_cannot_be_entered_twice():
    with pytest.raises(ValueError, match="two kernels for relu since CoreML5"):

        @kernel()
        def relu(*, x: torch.Tensor) -> torch.Tensor:
            return x


def test_a_kernel_takes_its_inputs_by_keyword_only():
    with pytest.raises(TypeError, match="x must be keyword-only"):

        @kernel()
        def brand_new(x: int) -> int:
            return x
