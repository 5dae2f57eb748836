"""What files cost, against hand counts and against the network's own count."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert import Sizes, to_coreml, to_tflite
from convert.artifact import Artifact, Source
from edge_eval.cost import Costs, count_costs
from models import SpanDeploy, count_macs
from models.errors import InputError

SOURCE = Source(name="random", sha256="0" * 64)
HW = (20, 24)


@pytest.fixture(scope="module")
def files(network: SpanDeploy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network as float16 TFLite, and as ML Programs of one size and of a range of sizes."""
    folder = tmp_path_factory.mktemp("cost")
    fp16 = to_tflite(network, recipe="fp16", size=HW, source=SOURCE, out=folder / "a.tflite")
    fixed = to_coreml(
        network, recipe="fp16", sizes=Sizes.fixed(*HW), source=SOURCE, out=folder / "fixed.mlpackage"
    )
    ranged = to_coreml(
        network,
        recipe="fp16",
        sizes=Sizes.between((16, 16), (64, 64)),
        source=SOURCE,
        out=folder / "ranged.mlpackage",
    )
    return {"fp16": fp16.path, "fixed": fixed.path, "ranged": ranged.path}


def kinds(costs: Costs, kind: str) -> list[int]:
    return [op.macs for op in costs.operations if op.kind == kind]


def test_every_format_has_the_networks_macs(
    files: dict[str, Path], tflite_float: Artifact, network: SpanDeploy
) -> None:
    expected = count_macs(network) * HW[0] * HW[1]
    for path in (*files.values(), tflite_float.path):
        costs = count_costs(path, input_hw=HW)
        assert costs.macs == expected and costs.input_hw == HW, path
        assert sum(op.macs > 0 for op in costs.operations) == len(network.convolutions())


def test_the_files_own_size_is_the_default(files: dict[str, Path], tflite_float: Artifact) -> None:
    assert count_costs(tflite_float.path).input_hw == (48, 56)
    assert count_costs(files["fixed"]).input_hw == HW


def test_bytes_of_float_convolutions_by_hand(tflite_float: Artifact) -> None:
    first = next(op for op in count_costs(tflite_float.path, input_hw=HW).operations if op.kind == "CONV_2D")
    pixels = HW[0] * HW[1]
    assert first.precision == "fp32" and first.macs == pixels * 3 * 8 * 9
    assert first.weight_bytes == 4 * (3 * 8 * 9 + 8)
    assert (first.read_bytes, first.write_bytes) == (4 * pixels * 3, 4 * pixels * 8)
    assert first.intensity == pytest.approx(2 * first.macs / first.bytes)


def test_integer_files_by_hand(tflite_uint8: Path) -> None:
    costs = count_costs(tflite_uint8)
    (conv,) = [op for op in costs.operations if op.kind == "CONV_2D"]
    pixels = 16 * 24
    assert conv.precision == "int8" and conv.macs == pixels * 3 * 12 * 9
    assert conv.weight_bytes == 3 * 12 * 9 + 4 * 12
    assert (conv.read_bytes, conv.write_bytes) == (pixels * 3, pixels * 12)
    (shuffle,) = [op for op in costs.operations if op.kind == "DEPTH_TO_SPACE"]
    assert shuffle.operations == 0 and shuffle.intensity == 0


def test_weights_count_as_they_are_stored(files: dict[str, Path], tflite_float: Artifact) -> None:
    half = count_costs(files["fp16"], input_hw=HW)
    whole = count_costs(tflite_float.path, input_hw=HW)
    weights = [sum(op.weight_bytes for op in costs.operations) for costs in (half, whole)]
    assert 0.5 * weights[1] <= weights[0] < 0.55 * weights[1]
    assert "DEQUANTIZE" not in {op.kind for op in half.operations}
    assert {op.precision for op in half.operations} == {"fp32"}


def test_core_ml_computes_in_half_precision(files: dict[str, Path]) -> None:
    for name in ("fixed", "ranged"):
        costs = count_costs(files[name], input_hw=HW)
        convs = [op for op in costs.operations if op.kind == "conv"]
        assert {op.precision for op in convs} == {"fp16"}
        assert convs[0].weight_bytes == 2 * (3 * 8 * 9 + 8)
        assert convs[0].write_bytes == 2 * HW[0] * HW[1] * 8


def test_a_flexible_program_counts_at_any_of_its_sizes(files: dict[str, Path], network: SpanDeploy) -> None:
    small, large = (count_costs(files["ranged"], input_hw=hw) for hw in ((16, 16), (32, 48)))
    assert large.macs == 6 * small.macs == count_macs(network) * 32 * 48
    assert [op.kind for op in small.operations] == [op.kind for op in large.operations]


def test_larger_pictures_cost_more_and_weights_do_not(tflite_float: Artifact) -> None:
    one, four = (count_costs(tflite_float.path, input_hw=hw) for hw in ((16, 16), (32, 32)))
    for small, large in zip(one.operations, four.operations, strict=True):
        grown = replace(
            small,
            macs=4 * small.macs,
            other_ops=4 * small.other_ops,
            read_bytes=4 * small.read_bytes,
            write_bytes=4 * small.write_bytes,
        )
        assert grown == large


def test_what_has_no_operations_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.pth has no operations to count; give "):
        count_costs(tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"fixed\.mlpackage does not go at 9x9 \(HxW\); it takes"):
        count_costs(files["fixed"], input_hw=(9, 9))
    (tmp_path / "a.tflite").write_bytes(np.zeros(99, np.uint8).tobytes())
    with pytest.raises(InputError, match="is not a TFLite file"):
        count_costs(tmp_path / "a.tflite")
