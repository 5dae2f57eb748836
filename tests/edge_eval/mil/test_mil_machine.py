"""Whole programs: against torch, and that wrong things are noticed."""

import dataclasses

import numpy as np
import pytest
import torch
from mil_checks import IMAGE, in_float64, psnr_db, refusal
from mil_networks import SmallSpan, small_network
from mil_programs import save_program

from edge_eval.mil import Machine, Program, load_program
from edge_eval.mil import registry as registry_module
from edge_eval.mil.program import Operation, Result
from edge_eval.mil.types import ValueType
from models.errors import InputError


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return load_program(small_network(tmp_path_factory.mktemp("half") / "net.mlpackage"))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return load_program(
        small_network(tmp_path_factory.mktemp("single") / "net.mlpackage", precision="FLOAT32")
    )


def test_float32_network_is_the_torch_network(single):
    out = Machine(single).run({"image": IMAGE.numpy()})["upscaled"]
    assert out.dtype == np.float32
    assert psnr_db(out, in_float64(SmallSpan(), IMAGE)) > 120


def test_float16_network_is_near_it_and_stored_in_float16(half):
    results = Machine(half).run({"image": IMAGE.numpy()}, keep=True)
    assert all(r.dtype == np.float16 for r in results.values())
    quality = psnr_db(results["upscaled"], in_float64(SmallSpan(), IMAGE))
    assert 55 < quality < 90


def test_float16_network_is_float32_arithmetic_rounded_after_every_operation(half):
    """The same network by hand: numpy float16 storage, float64 convolutions, no kernel of ours."""
    net = SmallSpan()

    def rounded(x: torch.Tensor) -> torch.Tensor:
        return x.double().half().double()

    def conv(layer: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        return rounded(
            torch.nn.functional.conv2d(x, rounded(layer.weight), rounded(layer.bias), padding=layer.padding)
        )

    with torch.no_grad():
        x = rounded(IMAGE)
        x = rounded(rounded(x - rounded(net.mean)) * 2)
        first = conv(net.conv_1, x)
        out, kept = first, []
        for a, b, c in net.blocks:
            inner = rounded(torch.nn.functional.silu(conv(a, out)))
            kept.append(inner)
            third = conv(c, rounded(torch.nn.functional.silu(conv(b, inner))))
            gate = rounded(rounded(torch.sigmoid(third)) - 0.5)
            out = rounded(rounded(third + out) * gate)
        joined = torch.cat([first, conv(net.conv_2, out), kept[0], kept[-1]], dim=1)
        expected = net.shuffle(conv(net.upsampler, conv(net.conv_cat, joined))).numpy()
    actual = Machine(half).run({"image": IMAGE.numpy()})["upscaled"]
    assert np.mean(actual.astype(np.float64) == expected) > 0.98
    assert np.abs(actual - expected).max() <= 2 * np.spacing(np.abs(expected).max().astype(np.float16))


def test_keep_gives_every_result_and_changes_nothing(half):
    machine = Machine(half)
    kept = machine.run({"image": IMAGE.numpy()}, keep=True)
    made = {r.name for op in half.operations if op.kind != "const" for r in op.results}
    assert set(kept) == made
    np.testing.assert_array_equal(kept["upscaled"], machine.run({"image": IMAGE.numpy()})["upscaled"])


def test_run_does_not_change_its_inputs_nor_torch(half):
    given = IMAGE.numpy().copy()
    before = torch.get_num_threads()
    Machine(half, threads=1).run({"image": given})
    np.testing.assert_array_equal(given, IMAGE.numpy())
    assert torch.get_num_threads() == before


def test_values_are_forgotten_after_their_last_use(half):
    machine = Machine(half)
    forgotten = [name for step in machine._steps for name in step.forget]
    made = {r.name for step in machine._steps for r in step.operation.results}
    assert len(forgotten) == len(set(forgotten))
    assert set(forgotten) == (made | {"image"}) - {"upscaled"}


def test_all_unknown_operations_are_listed_at_once(half):
    result = (Result(name="never", type=ValueType(element="float16", shape=(1,))),)
    strange = [
        Operation(kind=kind, name=kind, inputs={}, results=result) for kind in ("warp", "cond", "warp")
    ]
    known = next(op for op in half.operations if op.kind == "conv")
    odd = dataclasses.replace(
        known, inputs={**{k: v for k, v in known.inputs.items() if k != "weight"}, "knob": ()}
    )
    program = dataclasses.replace(half, operations=(*half.operations, *strange, odd))
    with pytest.raises(InputError) as caught:
        Machine(program)
    message = str(caught.value)
    assert (
        "uses what is not emulated: cond, conv with 'knob', conv without 'weight', warp; emulated for CoreML7"
        in message
    )
    assert "abs, acos" in message


def _with_type(program: Program, kind: str, **changes) -> Program:
    """The program with another declared type for the result of the last operation of a kind."""
    place = max(i for i, op in enumerate(program.operations) if op.kind == kind)
    op = program.operations[place]
    result = dataclasses.replace(op.results[0], type=dataclasses.replace(op.results[0].type, **changes))
    operations = list(program.operations)
    operations[place] = dataclasses.replace(op, results=(result,))
    return dataclasses.replace(program, operations=tuple(operations))


def test_wrong_declared_shape_is_noticed(half):
    machine = Machine(_with_type(half, "conv", shape=(1, 12, 16, 21)))
    message = refusal(machine, {"image": IMAGE})
    assert "is declared float16 (1, 12, 16, 21), not float16 (1, 12, 16, 20)" in message
    assert "(conv)" in message


def test_wrong_declared_rank_and_unknown_sides(half):
    assert "is declared float16 (?, ?)" in refusal(
        Machine(_with_type(half, "conv", shape=(None, None))), {"image": IMAGE}
    )
    Machine(_with_type(half, "conv", shape=(None,) * 4)).run({"image": IMAGE})
    Machine(_with_type(half, "conv", shape=None)).run({"image": IMAGE})


def test_wrong_declared_type_is_noticed(half):
    message = refusal(Machine(_with_type(half, "silu", element="float32")), {"image": IMAGE})
    assert "(silu)" in message
    assert "is declared float32 (1, 8, 16, 20), not float16 (1, 8, 16, 20)" in message


def test_wrong_number_of_results_is_noticed(half):
    op = next(op for op in half.operations if op.kind == "silu")
    twice = dataclasses.replace(op, results=(op.results[0], Result(name="more", type=op.results[0].type)))
    operations = tuple(twice if o is op else o for o in half.operations)
    message = refusal(Machine(dataclasses.replace(half, operations=operations)), {"image": IMAGE})
    assert "is declared with 2 results, not 1" in message


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("silu", lambda *, x: x.relu()),
        ("sigmoid", lambda *, x: x.sigmoid() * 1.05),
        ("concat", lambda *, values, axis, interleave=False: torch.cat(values[::-1], axis)),
        (
            "pixel_shuffle",
            lambda *, x, upscale_factor: torch.nn.functional.pixel_shuffle(x.flip(1), upscale_factor),
        ),
    ],
)
def test_a_kernel_made_wrong_fails(kind, wrong, half, monkeypatch):
    forms = registry_module._KERNELS[kind]
    monkeypatch.setitem(
        registry_module._KERNELS, kind, [dataclasses.replace(f, function=wrong) for f in forms]
    )
    out = Machine(half).run({"image": IMAGE})["upscaled"]
    assert psnr_db(out, in_float64(SmallSpan(), IMAGE)) < 55


def test_overflow_of_float16_is_named_with_its_operation(tmp_path):
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    @mb.program(input_specs=[mb.TensorSpec((4,), dtype=types.fp16)], opset_version=ct.target.iOS17)
    def program(x):
        big = mb.mul(x=x, y=np.float16(60000), name="big")
        return mb.sigmoid(x=big, name="y")

    loaded = load_program(save_program(program, tmp_path / "n.mlpackage", "CoreML7"))
    machine = Machine(loaded)
    assert machine.run({"x": np.float16([1, 0, -1, 0.5])})["y"][0] == 1
    message = refusal(machine, {"x": np.float16([0, 2, 0, 3])})
    assert "operation 'big' (mul) made infinity in 2 of 4 values of 'big', first at (1,)" in message
    assert "float16 ends at 65504, convert with float32" in message
    through = Machine(loaded, nonfinite="pass").run({"x": np.float16([0, 2, 0, 3])}, keep=True)
    assert np.isinf(through["big"][1])
    assert through["y"][1] == 1


def test_nan_is_named(tmp_path):
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec((4,))], opset_version=ct.target.iOS17)
    def program(x):
        return mb.sqrt(x=x, name="y")

    machine = Machine(load_program(save_program(program, tmp_path / "n.mlpackage", "CoreML7")))
    assert "operation 'y' (sqrt) made NaN in 1 of 4 values" in refusal(
        machine, {"x": np.float32([1, -1, 2, 3])}
    )


def test_what_a_kernel_cannot_compute_names_its_operation(half):
    op = next(op for op in half.operations if op.kind == "concat")
    broken = dataclasses.replace(
        op, inputs={**op.inputs, "values": (*op.inputs["values"], *half.operations[-1].inputs["x"])}
    )
    reference = next(iter(o for o in half.operations if o.kind == "sub")).inputs["x"]
    broken = dataclasses.replace(
        op, inputs={**op.inputs, "values": (op.inputs["values"][0], *reference), "axis": op.inputs["axis"]}
    )
    operations = tuple(broken if o is op else o for o in half.operations)
    message = refusal(Machine(dataclasses.replace(half, operations=operations)), {"image": IMAGE})
    assert "(concat)" in message


def test_functions_of_a_file_with_several(tmp_path):
    import coremltools as ct

    one = small_network(tmp_path / "one.mlpackage", minimum_deployment_target=ct.target.iOS18)
    two = small_network(tmp_path / "two.mlpackage", minimum_deployment_target=ct.target.iOS18)
    joined = ct.utils.MultiFunctionDescriptor()
    joined.add_function(str(one), "main", "first")
    joined.add_function(str(two), "main", "second")
    joined.default_function_name = "second"
    ct.utils.save_multifunction(joined, str(tmp_path / "both.mlpackage"))
    program = load_program(tmp_path / "both.mlpackage")
    assert (program.function, program.opset) == ("second", "CoreML8")
    expected = Machine(load_program(one)).run({"image": IMAGE})["upscaled"]
    for name in ("first", "second"):
        named = load_program(tmp_path / "both.mlpackage", function=name)
        assert named.inputs[0].name == "image"
        np.testing.assert_array_equal(Machine(named).run({"image": IMAGE})["upscaled"], expected)


@pytest.mark.parametrize("target", ["iOS15", "iOS16", "iOS18"])
def test_older_and_newer_targets(target, tmp_path):
    import coremltools as ct

    path = small_network(
        tmp_path / "n.mlpackage", precision="FLOAT32", minimum_deployment_target=getattr(ct.target, target)
    )
    out = Machine(load_program(path)).run({"image": IMAGE})["upscaled"]
    assert psnr_db(out, in_float64(SmallSpan(), IMAGE)) > 120
