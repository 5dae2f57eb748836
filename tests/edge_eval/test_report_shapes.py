"""Documents of another shape: each is refused with one line that says where, what is there, what to do."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click.testing
import pytest
from gate_support import judged, timed

from edge_eval.cli import span_edge
from edge_eval.report_data import Step, read_report
from models import InputError

TAKEN = "give a folder that span-edge run wrote, or a JSON file of span-edge eval or bench"
QUALITY = asdict(judged("a.tflite", 29.8, size_bytes=1_500_000))
LATENCY = asdict(timed("a.tflite", 12.5, quality={"dataset": "photos", "psnr_y_db": 29.8}))
RECORD: dict[str, Any] = {
    "schema": 1,
    "created": "today",
    "checkpoint": {
        "name": "a",
        "file": "a.pth",
        "config": {"network": "span", "upscale": 2, "feature_channels": 8, "img_range": 1.0},
        "sha256": "0",
    },
    "artifacts": [asdict(Step(artifact="a.tflite", format="tflite", recipe="fp16", status="OK"))],
    "environment": {"cpu": "one"},
    "pictures": [],
    "commands": ["span-edge run"],
    "gates": {"max_drop_db": 0.1, "min_psnr_db": None, "max_latency_ratios": ["a/b=1"], "baseline": None},
    "failures": [],
    "calibration": None,
    "layer_errors": [],
    "agreement": [],
}


def document(*results: object, **changes: object) -> dict[str, Any]:
    return {"schema": 1, "environment": {}, "results": list(results), **changes}


def call(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(span_edge, [str(argument) for argument in arguments])


def only_line(result: click.testing.Result) -> str:
    """The one line of a refusal."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def written(tmp_path: Path) -> Callable[[object], Path]:
    def write(content: object) -> Path:
        path = tmp_path / "old.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


RESULTS: list[tuple[object, str]] = [
    (document(results={"a": 1}), 'results is {"a": 1}, not a list'),
    (document(1), "results[0] is 1, not an object"),
    (document(results=None), "results is null, not a list"),
    ({"schema": 1}, "it has no results"),
    ({"results": []}, "it has no schema"),
    (document(schema=2), "schema is 2, not 1"),
    (document(schema=True), "schema is true, not 1"),
    (document(environment="x"), 'environment is "x", not an object'),
    (document(environment=None), "environment is null, not an object"),
    (document({**LATENCY, "median_ms": "x"}), 'results[0].median_ms is "x", not a number or null'),
    (document(LATENCY, {**LATENCY, "median_ms": [1]}), "results[1].median_ms is [1], not a number"),
    (document({**LATENCY, "median_ms": True}), "results[0].median_ms is true, not a number or null"),
    (document({**LATENCY, "input_hw": None}), "results[0].input_hw is null, not a list of 2"),
    (document({**LATENCY, "input_hw": [1]}), "results[0].input_hw is [1], not a list of 2"),
    (document({**LATENCY, "input_hw": [1, "x"]}), 'results[0].input_hw[1] is "x", not a whole number'),
    (document({**LATENCY, "size_bytes": 1.5}), "results[0].size_bytes is 1.5, not a whole number"),
    (document({**LATENCY, "ops": {"a": "b"}}), 'results[0].ops.a is "b", not a whole number'),
    (document({**LATENCY, "quality": 1}), "results[0].quality is 1, not an object or null"),
    (
        document({**LATENCY, "quality": {"psnr_y_db": "x"}}),
        'results[0].quality.psnr_y_db is "x", not a number or null',
    ),
    (document({"artifact": "a"}), "results[0] has no init_ms, input_hw"),
    (document({**QUALITY, "psnr_y_db": "x"}), 'results[0].psnr_y_db is "x", not a number or null'),
    (document({**QUALITY, "per_image": None}), "results[0].per_image is null, not a list"),
    (document({**QUALITY, "per_image": []}), "results[0].per_image is empty"),
    (document({**QUALITY, "per_image": [1]}), "results[0].per_image[0] is 1, not an object"),
    (document({**QUALITY, "artifact": "a" * 99}, {}), "results[1] has no artifact"),
]


@pytest.mark.parametrize(("content", "what"), RESULTS, ids=[what for _, what in RESULTS])
def test_a_document_of_results_of_another_shape_is_refused(
    written: Callable[[object], Path], content: object, what: str
) -> None:
    path = written(content)
    line = only_line(call("report", path))
    assert line.startswith(f"error: {path} is neither of eval --json nor of bench --json: {what}")
    assert line.endswith(f"; {TAKEN}")


RECORDS: list[tuple[dict[str, object], str]] = [
    ({"artifacts": {}}, "artifacts is {}, not a list"),
    ({"artifacts": [1]}, "artifacts[0] is 1, not an object"),
    (
        {"artifacts": [{**RECORD["artifacts"][0], "status": "FINE"}]},
        'artifacts[0].status is "FINE", not "OK" or "FAILED" or "SKIPPED" or "REFERENCE"',
    ),
    ({"gates": None}, "gates is null, not an object"),
    ({"gates": {"max_drop_db": "x"}}, 'gates.max_drop_db is "x", not a number or null'),
    ({"gates": {"max_latency_ratios": 1}}, "gates.max_latency_ratios is 1, not a list"),
    ({"environment": "x"}, 'environment is "x", not an object'),
    ({"checkpoint": None}, "checkpoint is null, not an object"),
    ({"checkpoint": {"name": "a"}}, "checkpoint has no file"),
    (
        {"checkpoint": {**RECORD["checkpoint"], "config": {"network": 1}}},
        "checkpoint.config has no feature_channels, upscale",
    ),
    ({"created": 1}, "created is 1, not text"),
    ({"pictures": [{}]}, "pictures[0] has no artifacts, crop"),
    ({"commands": [None]}, "commands[0] is null, not text"),
    ({"failures": "x"}, 'failures is "x", not a list'),
    ({"calibration": 1}, "calibration is 1, not an object or null"),
    ({"layer_errors": {}}, "layer_errors is {}, not a list"),
    ({"agreement": [[]]}, "agreement[0] is [], not an object"),
]


@pytest.mark.parametrize(("changes", "what"), RECORDS, ids=[what for _, what in RECORDS])
def test_a_record_of_a_run_of_another_shape_is_refused(
    tmp_path: Path, changes: dict[str, object], what: str
) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**RECORD, **changes}), encoding="utf-8")
    line = only_line(call("report", tmp_path))
    assert line.startswith(f"error: {path} is not what span-edge run writes: {what}")
    assert line.endswith(f"; {TAKEN}")


def test_the_right_shapes_are_read(tmp_path: Path, written: Callable[[object], Path]) -> None:
    found = read_report(written(document(QUALITY, LATENCY)))
    assert found.quality == (judged("a.tflite", 29.8, size_bytes=1_500_000),)
    assert [asdict(row) for row in found.latency] == [LATENCY]
    (tmp_path / "run.json").write_text(json.dumps(RECORD), encoding="utf-8")
    run = read_report(tmp_path)
    assert run.steps == (Step(artifact="a.tflite", format="tflite", recipe="fp16", status="OK"),)
    assert run.checkpoint["config"]["img_range"] == 1.0 and run.checkpoint["sha256"] == "0"
    assert run.gates["max_latency_ratios"] == ("a/b=1",)
    assert call("report", tmp_path).exit_code == 0
    page = call("report", tmp_path, "-o", tmp_path / "page.html")
    assert page.exit_code == 0, page.stderr


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    scene = {
        **{"image": "a", "scale": 2, "crop": [0, 0, 2, 2], "frame_hw": [2, 2]},
        **{"files": {"odd": "a.gif"}, "artifacts": {}, "drops_db": {}},
    }
    (tmp_path / "run.json").write_text(json.dumps({**RECORD, "pictures": [scene]}), encoding="utf-8")
    line = only_line(call("report", tmp_path, "-o", tmp_path / "page.html"))
    assert "a.gif, which is no .png or .webp file" in line


@pytest.mark.parametrize("wrong", [document(results={"a": 1}), document({**LATENCY, "median_ms": "x"})])
def test_a_baseline_of_another_shape_is_refused_before_anything_is_timed(
    tmp_path: Path, written: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch, wrong: object
) -> None:
    def timing(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something is timed")

    monkeypatch.setattr("edge_eval.cli.bench.bench_host", timing)
    model = tmp_path / "a.tflite"
    model.write_bytes(b"")
    path = written(wrong)
    line = only_line(call("bench", model, "--baseline", path))
    assert line.startswith(f"error: {path} is neither of eval --json nor of bench --json: results")


def test_an_estimate_is_told_from_results(written: Callable[[object], Path]) -> None:
    path = written({"schema": 1, "kind": "estimate", "results": [{"artifact": "a.tflite"}]})
    line = only_line(call("report", path))
    assert line == f"error: {path} holds what span-edge estimate computed, and nothing measured; {TAKEN}"
    with pytest.raises(InputError, match="holds no JSON object"):
        read_report(written([]))


def test_the_size_of_an_evaluated_file_is_shown(written: Callable[[object], Path]) -> None:
    shown = call("report", written(document(QUALITY)), "--markdown")
    assert shown.exit_code == 0 and "| a.tflite | tflite | OK | 1.50 | 29.80 |" in shown.stdout
