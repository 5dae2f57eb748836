"""Gates and Markdown on the command line: exit codes, messages, what goes where."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from edge_eval.planned_rows import planned_files
from edge_eval.timed_file import timed_file

Invoke = Callable[..., click.testing.Result]
Finished = tuple[Path, click.testing.Result]


def worsened(source: Path, target: Path, **changes: Any) -> Path:
    """A document with all its results changed."""
    document = json.loads(source.read_text(encoding="utf-8"))
    for result in document["results"]:
        result.update(changes)
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


@pytest.fixture
def evaluation(tflite_file: Path, network_file: Path, images: Path) -> list[object]:
    """An `eval` of one file."""
    return ["eval", tflite_file, "--reference", network_file, "--data", images, "--threads", 1]


@pytest.fixture
def timing(tflite_file: Path, integer_file: Path) -> list[object]:
    """A `bench` of two files."""
    return ["bench", tflite_file, integer_file, "--threads", 1, "--runs", 2, "--size", "24x24"]


def test_eval_against_its_own_results_passes_and_against_better_ones_fails(
    invoke: Invoke, evaluation: list[object], images: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.json"
    assert invoke(*evaluation, "--json", old).exit_code == 0
    assert invoke(*evaluation, "--baseline", old).exit_code == 0
    better = worsened(old, tmp_path / "better.json", psnr_y_db=99.0)
    page = tmp_path / "eval.md"
    result = invoke(*evaluation, "--baseline", better, "--markdown", page)
    assert result.exit_code == 1
    assert "- **FAILED** small\\_fp16.tflite on tflite" in page.read_text(encoding="utf-8")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("FAILED")]
    assert line.startswith(f"FAILED small_fp16.tflite on tflite, {images.name}: PSNR-Y")
    assert "(99.0000); 0.01 is allowed" in line
    assert invoke(*evaluation, "--baseline", better, "--tolerance", "psnr=99").exit_code == 0


def test_bench_gates_end_in_1_after_everything_is_written(
    invoke: Invoke, timing: list[object], tmp_path: Path
) -> None:
    written = tmp_path / "bench.json"
    page = tmp_path / "bench.md"
    limit = ("--max-latency-ratio", "w8a8/fp16=0")
    result = invoke(*timing, "--json", written, "--markdown", page, *limit)
    assert result.exit_code == 1 and written.is_file()
    assert "- **FAILED** small\\_w8a8.tflite on tflite takes" in page.read_text(encoding="utf-8")
    reported = invoke("report", written)
    assert "frames/s" in reported.stdout and "x floor: time over MACs" in reported.stdout
    assert "FAILED small_w8a8.tflite on tflite takes" in result.stderr
    assert "more than --max-latency-ratio w8a8/fp16=0" in result.stderr
    assert invoke(*timing, "--max-latency-ratio", "small_w8a8.tflite/fp16=1e9").exit_code == 2
    assert invoke(*timing, "--max-latency-ratio", "small_w8a8.tflite/fp16=999999").exit_code == 0
    smaller = worsened(written, tmp_path / "smaller.json", size_bytes=1)
    result = invoke(*timing, "--baseline", smaller, "--tolerance", "latency=999")
    assert result.exit_code == 1
    assert result.stderr.count("more than in") == 2 and "1.0% is allowed" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-latency-ratio", "fast"], "'fast' is no latency ratio; give A/B=NUMBER"),
        (["--max-latency-ratio", "w4/fp16=1"], "w4 names none of the rows small_fp16.tflite@tflite"),
        (["--max-latency-ratio", "tflite/fp16=1"], "tflite names small_fp16.tflite@tflite and small_w8a8"),
        (["--tolerance", "psnr=1"], "--tolerance says what --baseline allows; give --baseline"),
        (["--baseline", "absent.json"], "no absent.json; give a folder"),
        (["--json", "-", "--markdown", "-"], "--json and --markdown name the same output"),
    ],
)
def test_gates_that_make_no_sense_are_refused(
    invoke: Invoke, timing: list[object], options: list[str], message: str
) -> None:
    result = invoke(*timing, *options)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line and not result.stdout, "nothing was timed before"


def test_a_quantized_checkpoint_is_simulated_and_gets_no_time(
    quantized_file: Path, integer_file: Path
) -> None:
    files = [timed_file(path) for path in (quantized_file, integer_file)]
    assert [row.timed for row in planned_files(files, one_size=False)] == [False, True]


def test_run_refuses_a_limit_on_what_it_will_not_time_before_any_work(
    invoke: Invoke, network_file: Path, images: Path, tmp_path: Path
) -> None:
    command = ["run", network_file, "--data", images, "--recipes", "fp16", "--out", tmp_path / "out"]
    result = invoke(*command, "--max-latency-ratio", "fp16/w8=1")
    assert result.exit_code == 2 and "w8 names none of the rows small.safetensors@torch" in result.stderr
    result = invoke(*command, "--max-latency-ratio", "fp16/torch=1", "--runs", 0)
    assert result.exit_code == 2 and "gets no time here; give a row that is timed" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("prebuilt")
def test_a_run_keeps_to_a_limit_and_to_an_earlier_run(
    invoke: Invoke, network_file: Path, images: Path, finished_run: Finished, tmp_path: Path
) -> None:
    command = ["run", network_file, "--data", images, "--recipes", "fp16", "--formats", "tflite"]
    command += ["--size", "48x44", "--runs", 2, "--threads", 1]
    limit = ["--max-latency-ratio", "fp16/torch=0"]
    result = invoke(*command, "--out", tmp_path / "out", *limit, "--baseline", finished_run[0])
    assert result.exit_code == 1
    assert "more than --max-latency-ratio fp16/torch=0" in result.stderr
    assert f"small_w8a8.tflite on tflite, {images.name}: is in" in result.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["gates"]["max_latency_ratios"] == ["fp16/torch=0"]
    assert record["gates"]["baseline"] == str(finished_run[0])
    assert len(record["failures"]) > 2


def test_report_shows_a_run_on_the_terminal_and_as_markdown(
    invoke: Invoke, finished_run: Finished, tmp_path: Path
) -> None:
    out = finished_run[0]
    shown = invoke("report", out)
    assert shown.exit_code == 0 and "small_w8a8.tflite" in shown.stdout and "|" not in shown.stdout
    printed = invoke("report", out, "--markdown")
    assert printed.stdout.startswith("### span-edge: small\n\n| artifact | runs on |")
    both = invoke("report", out, "--markdown", tmp_path / "t.md", "-o", tmp_path / "t.html")
    assert both.exit_code == 0
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == printed.stdout
    taken = invoke("report", out, "--markdown", tmp_path / "t.md")
    assert taken.exit_code == 2 and "t.md exists" in taken.stderr
    swapped = invoke("report", "--markdown", out, out)
    assert swapped.exit_code == 2 and "write --markdown after the folder" in swapped.stderr
    assert "median ms" in invoke("report", out / "bench.json").stdout


def test_eval_and_bench_write_markdown(
    invoke: Invoke, evaluation: list[object], timing: list[object], tmp_path: Path
) -> None:
    judged = invoke(*evaluation, "--markdown")
    assert judged.exit_code == 0 and judged.stdout.startswith("### span-edge\n\n| artifact | runs on |")
    assert re.search(r"\| small\\_fp16.tflite \| tflite \| OK \| 0\.\d\d \|", judged.stdout)
    timed = invoke(*timing, "--markdown", tmp_path / "bench.md")
    assert timed.exit_code == 0 and "median ms" in timed.stdout
    assert "| small\\_w8a8.tflite | tflite | 24x24 | 1 |" in (tmp_path / "bench.md").read_text(
        encoding="utf-8"
    )
