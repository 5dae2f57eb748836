"""Every kernel against a formula of its own, through real files, in both precisions."""

from typing import Any

import numpy as np
import pytest
from mil_case import Case
from mil_cases import CASES
from mil_programs import typed

from edge_eval.mil.registry import all_kernels, find_kernel

PRECISIONS = [
    (index, case, dtype)
    for index, case in enumerate(CASES)
    for dtype in ("float32", "float16")
    if not (case.opset == "CoreML5" and dtype == "float16")
]


def _id(index: int, case: Case, dtype: str) -> str:
    return f"{case.op}-{index}-{dtype}"


def expected_of(case: Case, inputs: dict[str, Any]) -> list[np.ndarray]:
    """The case's formula on its inputs, floats as float64."""

    def wide(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(wide(v) for v in value)
        is_float = isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f"
        return value.astype(np.float64) if is_float else value

    results = case.expected(**{name: wide(value) for name, value in inputs.items()})
    return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]


def assert_close(actual: np.ndarray, expected: np.ndarray, floor: float) -> None:
    """One rounding to the type of `actual`, and `floor` of the largest value for float32 on the way."""
    assert actual.shape == expected.shape
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    step = float(np.finfo(actual.dtype).eps)
    largest = float(np.abs(expected).max(initial=0))
    tolerance = 0.5001 * step * np.abs(expected) + max(
        floor * largest, float(np.finfo(actual.dtype).tiny) * step
    )
    worst = np.abs(actual.astype(np.float64) - expected) - tolerance
    assert worst.max(initial=-1) <= 0, f"off by {worst.max()} more than {tolerance.max()}"


@pytest.mark.parametrize(("index", "case", "dtype"), PRECISIONS, ids=[_id(*p) for p in PRECISIONS])
def test_kernel_in_a_file_gives_what_its_formula_says(index, case, dtype, case_runs):
    built, results = case_runs(case.opset, dtype)
    place = [i for i, c in enumerate(CASES) if c.opset == case.opset].index(index)
    expected = expected_of(case, built.given[place])
    names = built.results[place]
    assert len(names) == len(expected)
    for name, value in zip(names, expected, strict=True):
        assert_close(results[name], value, case.floor)


@pytest.mark.parametrize(
    ("index", "case"), list(enumerate(CASES)), ids=[f"{c.op}-{i}" for i, c in enumerate(CASES)]
)
def test_formula_is_what_coremltools_infers(index, case):
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from mil_programs import TARGETS

    if not case.inferred:
        pytest.skip("coremltools' inference of this case is not usable")
    inputs = typed(case, np.float32)
    inferred: list[Any] = []

    def body(one):
        results = getattr(mb, case.op)(**inputs)
        results = list(results) if isinstance(results, list | tuple) else [results]
        values = [result.val for result in results]
        if case.op.startswith("constexpr_"):
            values = results[0].op.materialized_val_inference()
        inferred.extend(values if isinstance(values, list | tuple) else [values])
        return mb.identity(x=one)

    target = getattr(ct.target, TARGETS[case.opset])
    mb.program(input_specs=[mb.TensorSpec((3,))], opset_version=target)(body)
    if any(value is None for value in inferred):
        pytest.skip("coremltools infers no value for it")
    for value, formula in zip(inferred, expected_of(case, inputs), strict=True):
        np.testing.assert_allclose(np.asarray(value, np.float64), formula, rtol=2e-5, atol=2e-5)


def test_every_kernel_has_a_case():
    tried = {id(find_kernel(case.op, case.opset)) for case in CASES}
    missing = [f"{k.operation} since {k.since}" for k in all_kernels() if id(k) not in tried]
    assert missing == []


def test_there_are_at_least_70_operations():
    assert len({k.operation for k in all_kernels()}) >= 70
