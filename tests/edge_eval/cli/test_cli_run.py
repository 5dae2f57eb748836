"""`span-edge run`: everything it writes, what it says, and what it refuses."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from edge_eval import pipeline, run_record
from models import InputError
from models.bundled import DEFAULT, bundled_path
from models.files import written_whole

Invoke = Callable[..., click.testing.Result]
Finished = tuple[Path, click.testing.Result]

EVAL_KEYS = {
    "artifact",
    "sha256",
    "size_bytes",
    "format",
    "recipe",
    "method",
    "runtime",
    "dataset",
    "scale",
    "images",
    "psnr_y_db",
    "ssim_y",
    "float_psnr_y_db",
    "drop_db",
    "drift_psnr_y_db",
    "max_abs_8bit",
    "per_image",
}
IMAGE_KEYS = {
    "name",
    "psnr_y_db",
    "ssim_y",
    "float_psnr_y_db",
    "drop_db",
    "drift_psnr_y_db",
    "max_abs_8bit",
}
BENCH_KEYS = {
    "artifact",
    "runtime",
    "threads",
    "input_hw",
    "warmup",
    "runs",
    "init_ms",
    "median_ms",
    "p90_ms",
    "min_ms",
    "mean_ms",
    "std_ms",
    "peak_rss_mb",
    "size_bytes",
    "ops",
}


@pytest.fixture
def command(prebuilt: None, network_file: Path, images: Path, tmp_path: Path) -> list[object]:
    """A quick run: one TFLite file, made before, not timed."""
    return [
        "run",
        network_file,
        "--data",
        images,
        "--recipes",
        "fp16",
        "--formats",
        "tflite",
        "--size",
        "48x44",
        "--runs",
        0,
        "--out",
        tmp_path / "out",
    ]


def test_run_writes_files_of_every_format_and_all_documents(finished_run: Finished) -> None:
    out, result = finished_run
    assert result.exit_code == 0, result.output
    assert {entry.name for entry in out.iterdir()} == {
        "small_fp16.tflite",
        "small_fp16.tflite.json",
        "small_fp16.mlpackage",
        "small_fp16.mlpackage.json",
        "small_w8a8.safetensors",
        "small_w8a8.tflite",
        "small_w8a8.tflite.json",
        "small_w8a8.mlpackage",
        "small_w8a8.mlpackage.json",
        "eval.json",
        "bench.json",
        "run.json",
        "report.html",
        "pictures",
    }


def test_run_leaves_no_scratch_beside_its_folder(finished_run: Finished) -> None:
    assert [entry.name for entry in finished_run[0].parent.iterdir()] == ["out"]


def test_run_says_what_it_found(finished_run: Finished) -> None:
    out, result = finished_run
    rows = [line.split() for line in result.stdout.splitlines() if line.startswith("small")]
    table = {row[0]: row for row in rows if row[1] != "and"}
    assert table["small_fp16.tflite"][1:3] == ["tflite", "OK"]
    assert table["small_fp16.mlpackage"][1:3] == ["mil", "OK"]
    assert table["small_w8a8.tflite"][1:3] == ["tflite", "OK"]
    assert table["small_w8a8.safetensors"][1:3] == ["torch", "OK"]
    assert f"report: {out / 'report.html'}" in result.stdout
    assert "1 of 2 images are smaller than the sizes that the file takes" in " ".join(result.stdout.split())


def test_eval_document_has_exactly_the_keys_of_the_contract(
    finished_run: Finished, load: Callable[[Path], Any]
) -> None:
    document = load(finished_run[0] / "eval.json")
    assert set(document) == {"schema", "environment", "results"}
    assert document["schema"] == 1
    assert [(r["artifact"], r["format"], r["recipe"], r["method"]) for r in document["results"]] == [
        ("small_w8a8.safetensors", "checkpoint", "w8a8", "ptq"),
        ("small_fp16.tflite", "tflite", "fp16", None),
        ("small_w8a8.tflite", "tflite", "w8a8", "ptq"),
        ("small_fp16.mlpackage", "coreml", "fp16", None),
        ("small_w8a8.mlpackage", "coreml", "w8a8", "ptq"),
    ]
    for result in document["results"]:
        assert set(result) == EVAL_KEYS
        assert all(set(image) == IMAGE_KEYS for image in result["per_image"])
        assert result["drop_db"] == pytest.approx(result["float_psnr_y_db"] - result["psnr_y_db"], abs=1e-9)


def test_bench_document_has_the_keys_of_the_contract_and_no_time_for_the_emulator(
    finished_run: Finished, load: Callable[[Path], Any]
) -> None:
    document = load(finished_run[0] / "bench.json")
    results = {result["artifact"]: result for result in document["results"]}
    assert set(document) == {"schema", "environment", "results"}
    assert all(set(result) >= BENCH_KEYS for result in results.values())
    assert results["small_fp16.tflite"]["median_ms"] > 0
    assert results["small_fp16.mlpackage"]["median_ms"] is None


def test_artifacts_in_results_are_names_not_places(finished_run: Finished) -> None:
    out = finished_run[0]
    for name in ("eval.json", "bench.json", "report.html"):
        assert f".{out.name}." not in (out / name).read_text(encoding="utf-8")


def test_the_page_shows_every_file_and_loads_nothing(
    finished_run: Finished, load: Callable[[Path], Any]
) -> None:
    page = (finished_run[0] / "report.html").read_text(encoding="utf-8")
    files = [
        r["artifact"] for r in load(finished_run[0] / "eval.json")["results"] if r["format"] != "checkpoint"
    ]
    assert len(files) == 4 and all(f"<option>{name}</option>" in page for name in files)
    assert "small_w8a8.tflite and small_w8a8.mlpackage agree to" in page
    assert page.count('src="data:image/') == len(re.findall(r"<img ", page)) > 0
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "Quality against size" in page and "Quality against latency" in page
    assert "Drop per image" in page and "Error by layer" in page


def test_pictures_are_of_every_file_and_image(finished_run: Finished, load: Callable[[Path], Any]) -> None:
    out = finished_run[0]
    scenes = {scene["image"]: scene for scene in load(out / "run.json")["pictures"]}
    assert set(scenes) == {"large", "small"}
    for scene in scenes.values():
        assert list(scene["artifacts"]) == [
            "small_fp16.tflite",
            "small_w8a8.tflite",
            "small_fp16.mlpackage",
            "small_w8a8.mlpackage",
        ]
        assert set(scene["files"]) == {"input", "bicubic", "float", "original"}
        assert all(
            (out / path).is_file() for path in (*scene["files"].values(), *scene["artifacts"].values())
        )


def test_errors_by_layer_are_those_of_the_quantized_checkpoint(
    finished_run: Finished, load: Callable[[Path], Any]
) -> None:
    (errors,) = load(finished_run[0] / "run.json")["layer_errors"]
    assert (errors["artifact"], errors["recipe"]) == ("small_w8a8.safetensors", "w8a8")
    assert errors["nodes"][-1]["name"] == "upscaled"
    assert all(node["relative_error"] >= 0 for node in errors["nodes"])
    assert errors["nodes"][0]["relative_error"] < 0.1


def test_without_a_checkpoint_the_bundled_one_runs_on_the_bundled_photographs(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[pipeline.Job] = []

    def stop(job: pipeline.Job, **_: Any) -> None:
        jobs.append(job)
        raise InputError("seen enough")

    monkeypatch.setattr(pipeline, "run_pipeline", stop)
    assert "seen enough" in invoke("run", "--out", tmp_path / "out").stderr
    (job,) = jobs
    assert job.checkpoint.path == bundled_path(DEFAULT)
    assert (job.dataset.name, job.recipes, job.formats) == (
        "skimage-evaluation",
        ("fp16", "w8a8"),
        ("tflite", "coreml"),
    )
    assert job.quantization is not None and job.quantization.effort == "fast"


def test_a_taken_folder_is_refused_before_any_work(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = invoke("run", "absent.pth", "--out", tmp_path)
    assert result.exit_code == 2
    assert "holds files already; give --overwrite" in result.stderr


def test_overwrite_replaces_results_and_touches_nothing_else(
    invoke: Invoke, command: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "eval.json").write_text("old")
    assert invoke(*command, "--overwrite").exit_code == 0
    assert (out / "mine.txt").read_text() == "mine"
    assert (out / "eval.json").read_text() != "old"


def test_a_failed_gate_ends_in_1_and_names_the_artifact_and_the_figures(
    invoke: Invoke, command: list[object], tmp_path: Path
) -> None:
    result = invoke(*command, "--min-psnr", 99)
    assert result.exit_code == 1
    assert re.search(
        r"FAILED small_fp16.tflite on tflite, \S+: PSNR-Y [\d.]+ dB, less than --min-psnr 99", result.stderr
    )
    assert "less than --min-psnr 99" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_gates_that_hold_end_in_0(invoke: Invoke, command: list[object], tmp_path: Path) -> None:
    assert invoke(*command, "--max-drop", 1, "--min-psnr", 1).exit_code == 0
    assert "Gates passed" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_a_converter_refuses_is_failed_in_the_report_and_the_rest_is_done(
    invoke: Invoke,
    command: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[[Path], Any],
) -> None:
    from convert import tflite

    convert = tflite.to_tflite

    def refuse_fp32(network: Any, *, recipe: str, **rest: Any) -> Any:
        if recipe == "fp32":
            raise InputError("no such luck")
        return convert(network, recipe=recipe, **rest)

    monkeypatch.setattr(tflite, "to_tflite", refuse_fp32)
    result = invoke(*command, "--recipes", "fp32,fp16")
    record = load(tmp_path / "out" / "run.json")
    assert result.exit_code == 1
    assert "FAILED small_fp32.tflite: no such luck" in result.stderr
    assert [step["status"] for step in record["artifacts"]] == ["FAILED", "OK"]


def test_a_bug_in_a_stage_keeps_its_traceback(
    invoke: Invoke, command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(pipeline, "evaluate_one", broken)
    result = invoke(*command)
    assert isinstance(result.exception, ZeroDivisionError)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_in_130_with_one_line_and_nothing_written(
    invoke: Invoke, command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "evaluate_one", interrupted)
    result = invoke(*command)
    assert result.exit_code == 130
    assert result.stderr.strip().splitlines()[-1] == "interrupted; no file was left half-written"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_the_folder_as_it_was(
    invoke: Invoke, command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "eval.json").write_text("old")

    def full(path: Path, document: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(run_record, "write_json", full)
    result = invoke(*command, "--overwrite")
    assert result.exit_code == 2
    assert "No space left on device; nothing was changed" in result.stderr
    assert [(entry.name, entry.read_text()) for entry in out.iterdir()] == [("eval.json", "old")]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        shutil.Error([("weight.bin", "weight.bin", f"[Errno {errno.ENOSPC}] {os.strerror(errno.ENOSPC)}")]),
    ],
    ids=["file", "folder"],
)
def test_a_disk_that_is_full_before_the_report_ends_the_run(
    invoke: Invoke, command: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def full(network: object, *, out: Path, **_: object) -> None:
        with written_whole(out) as scratch:
            scratch.write_text("half")
            raise error

    monkeypatch.setattr("convert.tflite.to_tflite", full)
    result = invoke(*command)
    assert result.exit_code == 2
    out = tmp_path / "out"
    last = result.stderr.splitlines()[-1]
    assert last == f"error: cannot write {out}: No space left on device; nothing was changed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipes", "int3"], "int3 is no recipe here; choose from fp32, fp16"),
        (["--recipes", ","], "nothing is no recipe here"),
        (["--formats", "onnx"], "onnx is no format here; choose from tflite, coreml"),
        (["--size", "128"], "'128' is not a size; give height x width"),
        (["--rgb-mean", "1,2,3"], "'1,2,3' is no mean; give numbers from 0 to 1"),
        (["--max-drop", "-1"], "-1"),
        (["--data", "absent"], "absent does not exist"),
    ],
)
def test_bad_arguments_are_refused_with_what_is_accepted(
    invoke: Invoke, command: list[object], arguments: list[str], message: str, tmp_path: Path
) -> None:
    result = invoke(*command, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
