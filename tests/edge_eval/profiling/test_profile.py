"""Profiles: every operation found, each in its layer, and refusals; never a time."""

import ctypes
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convert import to_tflite
from convert.artifact import Artifact, Source
from edge_eval.latency import Latency
from edge_eval.profiling import profile_latency
from edge_eval.profiling.litert_api import ProfiledModel, _Event
from edge_eval.profiling.operations import FileOperation, align, file_operations, layer_of, why_outside
from models import SpanDeploy
from models.cost import count_macs
from quantize import quantize_ptq, split

ROW = Latency(
    artifact="a.tflite",
    runtime="tflite",
    threads=1,
    input_hw=(16, 20),
    warmup=0,
    runs=1,
    init_ms=None,
    median_ms=1.0,
    p90_ms=None,
    min_ms=None,
    mean_ms=None,
    std_ms=None,
    peak_rss_mb=None,
    size_bytes=0,
    ops={},
)
KEYS = {
    "name",
    "kind",
    "layer",
    "kernel",
    "ms",
    "share",
    "macs",
    "bytes",
    "gmacs_per_s",
    "delegated",
    "reason",
}


def profiled(path: Path, **changes: Any) -> dict[str, Any]:
    document = profile_latency(replace(ROW, **changes), path, runs=3)
    assert json.loads(json.dumps(document)) == document
    if document["reason"] is None:
        assert all(set(operation) == KEYS for operation in document["operations"])
        assert sum(operation["share"] for operation in document["operations"]) == pytest.approx(1)
        spent = sum(layer["ms"] for layer in document["layers"])
        assert spent == pytest.approx(document["parts_ms"])
    return document


def test_every_operation_of_a_float_file_has_its_kernel(network: SpanDeploy, tflite_float: Artifact) -> None:
    document = profiled(tflite_float.path)
    operations = document["operations"]
    assert document["reason"] is None and document["notes"] == [] and document["runs"] == 3
    wanted = [one.name for one in file_operations(tflite_float.path, (16, 20)) if one.cost]
    assert [operation["name"] for operation in operations] == wanted
    assert all(operation["delegated"] and operation["kernel"] for operation in operations)
    assert sum(operation["macs"] for operation in operations) == count_macs(network) * 16 * 20
    names = {layer["layer"] for layer in document["layers"]}
    assert set(network.convolutions()) <= names
    assert 0 < document["covered"] <= 1.01


@pytest.mark.parametrize("runtime", ["tflite-plain", "tflite-reference"])
def test_without_delegate_nothing_is_delegated(runtime: str, tflite_float: Artifact) -> None:
    operations = profiled(tflite_float.path, runtime=runtime)["operations"]
    assert len(operations) == len(file_operations(tflite_float.path, (16, 20)))
    assert not any(operation["delegated"] or operation["kernel"] for operation in operations)
    assert all(operation["reason"] is None for operation in operations)


@pytest.mark.parametrize("form", ["quarters", "tanh"])
def test_our_integer_files_are_profiled_by_layer(
    form: str, network: SpanDeploy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their table look-ups are of up to five operations, and their splits of several kernels or of one."""
    monkeypatch.setattr(split, "TAKES", {name: 1e12 * (name != form) for name in split.TAKES})
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    quantized = quantize_ptq(network, recipe="w8a8", images=[frame], effort="smoke")
    source, out = Source(name="random", sha256="0" * 64), tmp_path / "q.tflite"
    document = profiled(to_tflite(quantized, recipe="w8a8", size=(16, 20), source=source, out=out).path)
    layers = {layer["layer"] for layer in document["layers"]}
    assert document["notes"] == [] and {*network.convolutions()} - {"conv_2", "upsampler.0"} <= layers
    kinds = {part for operation in document["operations"] for part in operation["kind"].split("+")}
    assert ("SPLIT" in kinds) and "TANH" in kinds


def test_integer_files_say_what_is_left_outside(tflite_uint8: Path) -> None:
    operations = profiled(tflite_uint8)["operations"]
    outside = [operation for operation in operations if not operation["delegated"]]
    assert [operation["kind"] for operation in outside] == ["QUANTIZE", "QUANTIZE"]
    assert {operation["reason"] for operation in outside} == {"XNNPACK has no kernel between uint8 and int8"}
    assert any(operation["kind"] == "CONV_2D" and operation["delegated"] for operation in operations)


def test_torch_is_profiled_by_module(network: SpanDeploy, tmp_path: Path) -> None:
    torch.save({"params": network.state_dict()}, tmp_path / "a.pth")
    document = profiled(tmp_path / "a.pth", runtime="torch")
    operations = {operation["layer"]: operation for operation in document["operations"]}
    assert set(network.convolutions()) <= set(operations)
    assert operations["block_1"]["name"] == "block_1 (rest)" and operations["block_1"]["macs"] == 0
    assert sum(operation["macs"] for operation in operations.values()) == count_macs(network) * 16 * 20
    assert document["parts_ms"] == pytest.approx(document["total_ms"], rel=1e-3)


def test_what_is_not_profiled_says_why(tmp_path: Path, tflite_float: Artifact) -> None:
    reason = "onnxruntime is not profiled; LiteRT's runtimes and torch are"
    assert profiled(tmp_path / "a.onnx", runtime="onnxruntime") == {"reason": reason}
    assert profiled(tmp_path / "a", median_ms=None, reason="not timed") == {"reason": "not timed"}
    (tmp_path / "broken.tflite").write_bytes(tflite_float.path.read_bytes()[:2000])
    reason = profiled(tmp_path / "broken.tflite")["reason"]
    assert reason.startswith("LiteRT's profiler failed in a process of its own (")
    assert "of version 2.3.0, and " in reason and reason.endswith(" is installed")


def test_a_crash_is_a_reason(monkeypatch: pytest.MonkeyPatch, tflite_float: Artifact) -> None:
    died = subprocess.CompletedProcess(args=[], returncode=-11, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: died)
    assert "failed in a process of its own (ended by signal 11)" in profiled(tflite_float.path)["reason"]


@pytest.mark.parametrize("extra", [8, -8, -100])
def test_events_of_another_layout_are_noticed(extra: int) -> None:
    size = ctypes.sizeof(_Event)

    class Fake(ProfiledModel):
        def __init__(self) -> None:
            self._profiler = ctypes.c_void_p(1)

        def _call(self, name: str, *arguments: Any) -> None:
            if name == "LiteRtGetNumProfilerEvents":
                arguments[1]._obj.value = 2
            else:
                ctypes.memset(arguments[2], 0, 2 * (size + extra))

    with pytest.raises(RuntimeError, match=rf"writes {2 * (size + extra)} bytes for 2 events, not {size}"):
        Fake()._events()


def operations(*kinds: str) -> list[FileOperation]:
    return [
        FileOperation(index=index, kind=kind, name=f"t{index}", types=("int8",), cost=None)
        for index, kind in enumerate(kinds)
    ]


CONV, UNARY, COPY = "Convolution (NHWC, QC8) IGEMM", "Invalid Unary Op", "Copy (NC, X32)"


@pytest.mark.parametrize(
    ("kinds", "kernels", "expected"),
    [
        (["CONV_2D", "ADD"], [CONV, "Add (ND)"], [(0,), (1,)]),
        (["CONV_2D"], ["Fully Connected (NC, QS8, QC8W) GEMM"], [(0,)]),
        (["CONV_2D", "LOGISTIC", "MUL", "CONV_2D"], [CONV, UNARY, CONV], [(0,), (1,), (1,), (2,)]),
        (["LOGISTIC", "SUB", "ADD"], [UNARY, "Add (ND)"], [(0,), (0,), (1,)]),
        (["LOGISTIC", "MUL"], ["Sigmoid (NC)", "Multiply (ND)"], [(0,), (1,)]),
        (["CONCATENATION", "CONV_2D"], [COPY, COPY, COPY, CONV], [(0, 1, 2), (3,)]),
        (["CONCATENATION", "CONV_2D"], [CONV], [(), (0,)]),
        (["MUL", "TANH", "ADD", "MUL", "MUL", "CONV_2D"], [UNARY, CONV], [(0,)] * 5 + [(1,)]),
        (
            ["CONV_2D", "SPLIT", "MUL", "TANH", "LOGISTIC", "MUL", "CONCATENATION"],
            [CONV, COPY, UNARY, UNARY, COPY],
            [(0,), (1,), (2,), (2,), (3,), (3,), (4,)],
        ),
        (["SPLIT", "CONV_2D"], [COPY, COPY, CONV], [(0, 1), (2,)]),
        (["RESHAPE", "TRANSPOSE", "RESHAPE"], ["Transpose (ND, X8)"], [(), (0,), ()]),
        (["CONV_2D", "ADD"], ["Add (ND)", CONV], None),
        (["CONV_2D"], [CONV, CONV], None),
        (["CONV_2D", "CONV_2D"], [CONV], None),
        (["SOFTMAX"], ["Softmax"], None),
    ],
)
def test_kernels_are_matched_in_order(
    kinds: list[str], kernels: list[str], expected: list[tuple[int, ...]] | None
) -> None:
    assert align(operations(*kinds), kernels) == expected


def test_layers_by_the_longest_name() -> None:
    layers = ("conv_1", "block_1.c1_r", "block_1", "conv_cat")
    cases = {
        "block_1.c1_r/logistic": "block_1.c1_r",
        "block_1.c1_r.silu": "block_1.c1_r",
        "block_1.sum": "block_1",
        "block_1": "block_1",
        "conv_cat.sum_2": "conv_cat",
        "conv_10": "conv_10",
        "image/int8": "image",
    }
    assert {name: layer_of(name, layers) for name in cases} == cases


def test_reasons_for_what_is_outside() -> None:
    def reason(kind: str, *types: str) -> str:
        return why_outside(FileOperation(index=0, kind=kind, name="a", types=types, cost=None))

    assert reason("CONV_2D", "int16") == "XNNPACK has no kernels for 16-bit activations"
    assert reason("QUANTIZE", "uint8", "int8") == "XNNPACK has no kernel between uint8 and int8"
    assert reason("SHAPE", "float32", "int32") == "XNNPACK has no SHAPE for float32, int32"
    assert reason("CUSTOM", "float32") == "XNNPACK's delegate does not say"
