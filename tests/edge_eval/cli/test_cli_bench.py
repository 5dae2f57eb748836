"""`span-edge bench` on this computer: rows, comparisons, profiles and refusals; never a time."""

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest

from edge_eval.cli import host_bench
from edge_eval.cli.host_bench import STANDARD_SIZES, sizes, thread_counts
from edge_eval.compare import rivals

SHORT = ("--runs", 1, "--warmup", 0, "--threads", 1, "--size", "16x16")


def document(result: click.testing.Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    read: dict[str, Any] = json.loads(result.stdout)
    return read


def refused(result: click.testing.Result) -> str:
    assert result.exit_code == 2, result.output
    *before, last = result.stderr.splitlines()
    assert last.startswith("error: ") and not any(line.startswith("error: ") for line in before)
    return last


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh processes are tested elsewhere; the threads are those that a test asks for."""
    fresh = {"init_ms": 1.0, "peak_rss_mb": 2.0, "base_rss_mb": 1.0}
    monkeypatch.setattr("edge_eval.sweep.probe_fresh", lambda *asked: dict(fresh))


def test_every_runtime_size_and_thread_count_is_a_row(
    invoke: Any, tflite_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_eval.runtimes.table.available_cores", lambda: 2)
    runtimes = ("--runtime", "tflite", "--runtime", "tflite-compiled")
    options = ("--runs", 1, "--warmup", 0, "--threads", "1,2", "--size", "16x16", "--size", "20x24")
    found = document(invoke("bench", tflite_file, *runtimes, *options, "--json", "-"))
    rows = [(row["runtime"], row["input_hw"], row["threads"]) for row in found["results"]]
    assert rows == [
        (name, hw, count)
        for hw in ([16, 16], [20, 24])
        for count in (1, 2)
        for name in ("tflite", "tflite-compiled")
    ]
    assert [(floor["input_hw"], floor["threads"]) for floor in found["floor"]] == [
        (hw, count) for hw in ([16, 16], [20, 24]) for count in (1, 2)
    ]
    assert all(row["recipe"] == "fp16" and row["floor_ratio"] for row in found["results"])
    assert found["compared"] == {}


def test_tables_say_what_the_ratios_are_to(invoke: Any, tflite_file: Path, network_file: Path) -> None:
    result = invoke("bench", tflite_file, network_file, *SHORT)
    assert result.exit_code == 0, result.output
    assert "x float" not in result.stdout, "no straight fp32 file of the network is among the files"
    assert "x floor: time over MACs at this computer's matrix product, GMAC/s: fp32 " in result.stdout
    assert "(1 thread, beside 16x16)" in result.stdout
    assert f"{tflite_file.name} was made for another size; its input was resized" in result.stdout


def test_other_tools_are_rows_with_their_drop(
    invoke: Any,
    tflite_file: Path,
    network_file: Path,
    images: Path,
    calibration: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rivals, "find_spec", lambda name: None if name in ("onnx", "openvino") else object())
    data = ("--data", images, "--calibration", calibration, "--reference", network_file)
    names = "torch,onnxruntime,openvino-bf16,ai-edge-quantizer"
    found = document(invoke("bench", tflite_file, *SHORT, *data, "--compare-with", names, "--json", "-"))
    rows = {row["compared"] or row["artifact"]: row for row in found["results"]}
    assert list(rows) == [tflite_file.name, *names.split(",")]
    assert list(found["compared"]) == names.split(",")
    for name in ("onnxruntime", "openvino-bf16"):
        assert rows[name]["median_ms"] is None and "install span-edge[compare]" in rows[name]["reason"]
        assert rows[name]["quality"] is None
    for name in (tflite_file.name, "torch", "ai-edge-quantizer"):
        assert rows[name]["reason"] is None
        assert rows[name]["quality"]["images"] == 2 and rows[name]["quality"]["dataset"] == images.name
    assert rows["torch"]["quality"]["drop_db"] == 0
    assert rows["ai-edge-quantizer"]["quality"]["drop_db"] != 0


def test_a_file_to_compare_with_that_is_given_anyway_is_timed_once(
    invoke: Any, network_file: Path, images: Path
) -> None:
    data = ("--data", images, "--compare-with", "torch")
    found = document(invoke("bench", network_file, *SHORT, *data, "--json", "-"))
    (row,) = found["results"]
    assert row["compared"] is None and row["quality"]["drop_db"] == 0


def test_profiles_are_printed_and_in_the_json(invoke: Any, integer_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "bench.json"
    result = invoke("bench", integer_file, *SHORT, "--profile", "--json", target)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(target.read_text())["results"]
    assert row["profile"]["reason"] is None and row["profile"]["layers"]
    assert "by LiteRT's profiler" in result.stdout and "block_1.c1_r" in result.stdout
    reason = "XNNPACK has no kernel between uint8 and int8"
    assert f"not delegated: QUANTIZE image/int8: {reason}" in result.stdout
    assert f"not delegated: QUANTIZE upscaled: {reason}" in result.stdout


def test_a_busy_computer_is_told(invoke: Any, network_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for load, told in ((0.0, False), (99.0, True)):
        monkeypatch.setattr("psutil.getloadavg", lambda load=load: (load, load, load))
        result = invoke("bench", network_file, *SHORT)
        assert ("this computer is busy (load 99.0" in result.stderr) is told, result.output


def test_more_threads_than_cores_are_refused(invoke: Any, network_file: Path) -> None:
    from edge_eval.runtimes.table import available_cores

    cores = available_cores()
    for command in (
        ("bench", "--threads", "1,9999"),
        ("eval", "--threads", "9999"),
        ("run", "--threads", "9999"),
    ):
        said = refused(invoke(command[0], network_file, *command[1:]))
        assert f"9999 threads on {cores} cores would time the scheduler; give 1 to {cores}" in said


@pytest.mark.parametrize("text", ["0", "-1", "a", "1,,2", "", "1.5"])
def test_thread_counts(text: str, invoke: Any, network_file: Path) -> None:
    said = refused(invoke("bench", network_file, "--threads", text))
    assert f"{text!r} is no list of thread counts; give whole numbers from 1 up, as 1,2" in said


def test_lists() -> None:
    assert thread_counts("1, 2,1") == (1, 2)
    assert sizes("standard") == STANDARD_SIZES and sizes("320x180") == ((320, 180),)
    assert host_bench._flat((STANDARD_SIZES, ((128, 128),))) == STANDARD_SIZES


def test_names_of_tools(invoke: Any, network_file: Path) -> None:
    said = refused(invoke("bench", network_file, "--compare-with", "torch,mnn"))
    assert "mnn is no tool here; choose from torch, onnxruntime, onnxruntime-int8, openvino," in said


def test_nothing_is_judged_on_images_that_others_calibrate_on(
    invoke: Any, network_file: Path, images: Path
) -> None:
    data = ("--data", images, "--calibration", images, "--compare-with", "ai-edge-quantizer")
    said = refused(invoke("bench", network_file, *data))
    assert "are among the calibration images" in said


def test_what_a_device_does_not_do(invoke: Any, tflite_file: Path) -> None:
    asked = ("--threads", "1,2", "--size", "16x16", "--size", "20x20")
    said = refused(invoke("bench", tflite_file, *asked, "--adb"))
    assert "several --size, several --threads and --adb: a device takes one size" in said
    said = refused(invoke("bench", tflite_file, *asked, "--profile", "--adb"))
    assert "profiling on a device is not supported; leave --profile out" in said


def test_no_such_file(invoke: Any) -> None:
    assert "none.tflite does not exist; give a checkpoint" in refused(invoke("bench", "none.tflite"))
