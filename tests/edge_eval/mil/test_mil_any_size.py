"""A file of one size on images of others: the same operations, and none that could depend on the size."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from convert.artifact import Source
from convert.coreml import to_coreml
from convert.coreml_sizes import Sizes
from edge_eval.mil import Machine, Program, load_program, with_any_size
from edge_eval.mil.any_size import SIZE_BLIND
from edge_eval.mil.program import Constant, Operation, Reference, Result
from edge_eval.mil.registry import all_kernels
from edge_eval.mil.types import ValueType
from models import NETWORKS, InputError, SpanConfig, SpanDeploy
from quantize import quantize_ptq

SOURCE = Source(name="random", sha256="0" * 64)
SIZE = (20, 24)


def small(name: str) -> SpanDeploy:
    torch.manual_seed(3)
    normalizes = NETWORKS[name].normalizes  # type: ignore[index]
    config = SpanConfig(
        network=name,  # type: ignore[arg-type]
        feature_channels=6,
        concat_channels=6,
        upscale=2,
        normalize=normalizes,
        img_range=1.0,
    )
    return SpanDeploy(config).eval().requires_grad_(False)


@pytest.fixture(scope="module", params=[(name, recipe) for name in NETWORKS for recipe in ("fp16", "w8a8")])
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Program, Program]:
    """Of one network, the program of a file of one size and that of a file that takes a range."""
    name, recipe = request.param
    network = small(name)
    frames = [np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)]
    made = (
        network if recipe == "fp16" else quantize_ptq(network, recipe=recipe, images=frames, effort="smoke")
    )
    folder = tmp_path_factory.mktemp("sizes")
    sizes = {"fixed": Sizes.fixed(*SIZE), "ranged": Sizes.between((8, 8), (64, 64), default=SIZE)}
    fixed, ranged = (
        load_program(
            to_coreml(made, recipe=recipe, sizes=size, source=SOURCE, out=folder / f"{key}.mlpackage").path
        )
        for key, size in sizes.items()
    )
    return fixed, ranged


def ran(program: Program, frame: np.ndarray) -> np.ndarray:
    return Machine(program, threads=1).run({"image": frame}, raw=True)["upscaled"]


@pytest.mark.parametrize("hw", [SIZE, (13, 11), (40, 9)])
def test_it_computes_what_a_file_for_many_sizes_does(
    programs: tuple[Program, Program], hw: tuple[int, int]
) -> None:
    opened = with_any_size(programs[0])
    assert opened is not None
    frame = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
    np.testing.assert_array_equal(ran(opened, frame), ran(programs[1], frame))


def test_at_its_own_size_it_is_the_file(programs: tuple[Program, Program]) -> None:
    opened = with_any_size(programs[0])
    assert opened is not None
    frame = np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(ran(opened, frame), ran(programs[0], frame))


def test_files_of_many_sizes_need_none_of_it(programs: tuple[Program, Program]) -> None:
    assert with_any_size(programs[1]) is None


def test_operations_that_may_know_the_size_are_left_alone(programs: tuple[Program, Program]) -> None:
    fixed = programs[0]
    first, *rest = [operation for operation in fixed.operations if operation.kind == "conv"]
    changed = replace(first, kind="upsample_bilinear")
    operations = tuple(changed if operation is first else operation for operation in fixed.operations)
    assert rest and with_any_size(replace(fixed, operations=operations)) is None


def test_a_split_of_rows_is_left_alone(programs: tuple[Program, Program]) -> None:
    name = programs[0].parameters[0].name
    number, image = ValueType(element="int32", shape=()), ValueType(element="fp32", shape=(1, 3, *SIZE))

    def halves(axis: int) -> Program:
        numbers = {"num_splits": 2, "axis": axis}
        given = {key: (Constant(type=number, value=np.array(n, np.int32)),) for key, n in numbers.items()}
        split = Operation(
            kind="split",
            name="halves",
            inputs={"x": (Reference(name=name),), **given},
            results=tuple(Result(name=half, type=image) for half in ("first", "second")),
        )
        return replace(programs[0], operations=(split,))

    assert with_any_size(halves(1)) is not None
    assert with_any_size(halves(2)) is None


def test_every_operation_of_the_list_is_emulated() -> None:
    assert {kernel.operation for kernel in all_kernels()} >= SIZE_BLIND


def test_a_wrong_size_is_still_refused_by_the_file_itself(programs: tuple[Program, Program]) -> None:
    with pytest.raises(InputError, match="takes 20 x 24, not 13 x 11"):
        ran(programs[0], np.zeros((13, 11, 3), np.uint8))
