"""Benchmarks as text: what stands in the tables, and what is said under them."""

import io
from dataclasses import replace
from typing import Any

from rich.console import Console

from edge_eval.latency import Latency
from edge_eval.latency_text import SHOWN_OPERATIONS, bench_tables
from edge_eval.report_data import results_of
from edge_eval.timed_where import device_name

ROW = Latency(
    artifact="a.tflite",
    runtime="tflite",
    threads=2,
    input_hw=(16, 20),
    warmup=5,
    runs=9,
    init_ms=3.0,
    median_ms=12.5,
    p90_ms=13.0,
    min_ms=12.0,
    mean_ms=12.6,
    std_ms=0.5,
    peak_rss_mb=80.0,
    size_bytes=1000,
    ops={"CONV_2D": 2},
    native_hw=(16, 20),
    output_hw=(32, 40),
    macs=2_500_000_000,
    floor_ms=5.0,
    floor_ratio=2.5,
    float_row="f.tflite on tflite",
    float_ratio=0.25,
    quality={"dataset": "Set5", "images": 5, "drop_db": 0.125},
).to_json()

FLOOR = {"threads": 2, "input_hw": [16, 20], "gmacs_per_s": {"fp32": 64.2, "int8": 325.4}}


def operation(**changes: Any) -> dict[str, Any]:
    plain = {
        "name": "conv_1",
        "kind": "CONV_2D",
        "layer": "conv_1",
        "kernel": "Convolution (NHWC, QC8) IGEMM",
        "ms": 1.0,
        "share": 0.5,
        "macs": 3_000_000,
        "bytes": 4000,
        "gmacs_per_s": 3.0,
        "delegated": True,
        "reason": None,
    }
    return {**plain, **changes}


def profile(*operations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    plain = {
        "tool": "LiteRT's profiler",
        "runs": 20,
        "total_ms": 12.9,
        "parts_ms": 12.1,
        "covered": 0.987,
        "latency_ms": 12.5,
        "operations": list(operations),
        "layers": [{"layer": "conv_1", "ms": 2.0, "share": 1.0, "macs": 6_000_000, "operations": 2}],
        "notes": [],
        "reason": None,
    }
    return {**plain, **changes}


def shown(*results: dict[str, Any], compared: dict[str, str] | None = None) -> str:
    document = {"schema": 1, "results": list(results), "floor": [FLOOR], "compared": compared or {}}
    console = Console(file=io.StringIO(), width=200)
    console.print(*bench_tables(document), sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_ratios_stand_beside_what_they_are_to() -> None:
    text = shown(ROW, compared={"torch": "PyTorch, eager mode"})
    for cell in ("12.5", "0.25", "2.5", "80", "9766", "+0.125"):
        assert cell in text, cell
    assert "x float: time over that of f.tflite on tflite, at the same size and threads" in text
    assert "GMAC/s: fp32 64, int8 325 (2 threads, beside 16x20)" in text
    assert "drop: PSNR-Y lost against the float network, Set5, 5 images" in text
    assert "torch: PyTorch, eager mode" in text
    assert "resized" not in text


def test_large_figures_have_no_exponent() -> None:
    text = shown({**ROW, "fps": 2580.4, "macs": 1_234_000_000_000, "floor_ratio": 1000.2})
    assert "2580" in text and "1234" in text and "1000" in text and "e+" not in text


def test_what_is_unknown_in_every_row_has_no_column_and_no_word() -> None:
    unknown = dict.fromkeys(("float_ratio", "float_row", "floor_ratio", "macs", "quality", "p90_ms"))
    text = shown({**ROW, **unknown, "native_hw": [8, 8]})
    assert "a.tflite was made for another size; its input was resized" in text
    for absent in ("x float", "x floor", "GMAC", "drop", "p90 ms", "–"):
        assert absent not in text, absent
    assert "frames/s" in text and "ms/MP" in text
    one_of_two = shown(ROW, {**ROW, **unknown, "artifact": "b.tflite"})
    for there in ("x float", "x floor", "GMAC", "drop dB", "p90 ms", "–"):
        assert there in one_of_two, there


def test_ratios_that_are_all_unknown_have_no_table() -> None:
    unknown = ("float_ratio", "floor_ratio", "macs", "quality", "fps", "ms_per_output_mp")
    text = shown({**ROW, **dict.fromkeys(unknown)})
    assert text.count("a.tflite") == 1


def test_times_of_a_device_are_its_own() -> None:
    device = {"serial": "S1", "model": "Phone 1", "chip": ""}
    assert device_name({"device": device}, ()) == "Phone 1 S1"
    _, (host,) = results_of({"schema": 1, "results": [ROW]})
    assert device_name({}, (host,)) is None
    assert device_name({}, (replace(host, runtime="adb-gpu"),)) == "a device"


def test_skipped_rows_have_no_ratios() -> None:
    missing = dict.fromkeys(("median_ms", "p90_ms", "min_ms", "mean_ms", "std_ms", "fps"))
    text = shown({**ROW, **missing, "reason": "openvino not installed"})
    assert "SKIPPED a.tflite: openvino not installed" in text and "x float" not in text


def test_profiles_name_what_is_left_outside() -> None:
    outside = operation(name="image/int8", kind="QUANTIZE", delegated=False, kernel=None, reason="no kernel")
    text = shown({**ROW, "profile": profile(operation(), outside)})
    assert "a.tflite on tflite, 16x20, 2 threads, by LiteRT's profiler" in text
    assert "Convolution (NHWC, QC8) IGEMM" in text and "50.0 %" in text
    assert "not delegated: QUANTIZE image/int8: no kernel" in text
    assert "the parts' medians are 12.10 ms, 98.7% of each run; whole run 12.90 ms" in text
    assert "everything is delegated" in shown({**ROW, "profile": profile(operation())})


def test_without_a_delegate_nothing_is_said_of_one() -> None:
    plain = operation(delegated=False, kernel=None)
    text = shown({**ROW, "profile": profile(plain, plain)})
    assert "delegated" not in text


def test_long_profiles_are_cut_and_summed() -> None:
    many = [operation(name=f"op{number}", ms=1.0, share=0.05) for number in range(SHOWN_OPERATIONS + 3)]
    text = shown({**ROW, "profile": profile(*many)})
    assert "3 more" in text and "3.000" in text and "15.0 %" in text


def test_a_profile_that_failed_says_why() -> None:
    assert "SKIPPED profile of a.tflite on tflite: no" in shown({**ROW, "profile": {"reason": "no"}})
