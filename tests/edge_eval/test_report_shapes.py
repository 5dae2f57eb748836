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
    (document(results={"a": 1}), "Expected `array`, got `object` - at `$.results`"),
    (document(1), "Expected `object`, got `int` - at `$.results[0]`"),
    (document(results=None), "Expected `array`, got `null` - at `$.results`"),
    ({"schema": 1}, "Object missing required field `results`"),
    ({"results": []}, "Object missing required field `schema`"),
    (document(schema=2), "Invalid enum value 2 - at `$.schema`"),
    (document(schema=True), "Expected `int`, got `bool` - at `$.schema`"),
    (document(environment="x"), "Expected `object`, got `str` - at `$.environment`"),
    (document(environment=None), "Expected `object`, got `null` - at `$.environment`"),
    (
        document({**LATENCY, "median_ms": "x"}),
        "result 1: Expected `float | null`, got `str` - at `$.median_ms`",
    ),
    (
        document(LATENCY, {**LATENCY, "median_ms": [1]}),
        "result 2: Expected `float | null`, got `array` - at `$.m",
    ),
    (
        document({**LATENCY, "median_ms": True}),
        "result 1: Expected `float | null`, got `bool` - at `$.median_ms`",
    ),
    (document({**LATENCY, "input_hw": None}), "result 1: Expected `array`, got `null` - at `$.input_hw`"),
    (
        document({**LATENCY, "input_hw": [1]}),
        "result 1: Expected `array` of length 2, got 1 - at `$.input_hw`",
    ),
    (document({**LATENCY, "input_hw": [1, "x"]}), "result 1: Expected `int`, got `str` - at `$.input_hw[1]`"),
    (document({**LATENCY, "size_bytes": 1.5}), "result 1: Expected `int`, got `float` - at `$.size_bytes`"),
    (document({**LATENCY, "ops": {"a": "b"}}), "result 1: Expected `int`, got `str` - at `$.ops[...]`"),
    (document({**LATENCY, "quality": 1}), "result 1: Expected `object | null`, got `int` - at `$.quality`"),
    (
        document({**LATENCY, "quality": {"psnr_y_db": "x"}}),
        "result 1: Expected `float | null`, got `str` - at `$.quality.psnr_y_db`",
    ),
    (document({"artifact": "a"}), "result 1: Object missing required field `runtime`"),
    (
        document({**QUALITY, "psnr_y_db": "x"}),
        "result 1: Expected `float | null`, got `str` - at `$.psnr_y_db`",
    ),
    (document({**QUALITY, "per_image": None}), "result 1: Expected `array`, got `null` - at `$.per_image`"),
    (document({**QUALITY, "per_image": []}), "result 1: Expected `array` of length >= 1 - at `$.per_image`"),
    (document({**QUALITY, "per_image": [1]}), "result 1: Expected `object`, got `int` - at `$.per_image[0]`"),
    (document({**QUALITY, "artifact": "a" * 99}, {}), "result 2: Object missing required field `artifact`"),
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
    ({"artifacts": {}}, "Expected `array`, got `object` - at `$.artifacts`"),
    ({"artifacts": [1]}, "Expected `object`, got `int` - at `$.artifacts[0]`"),
    (
        {"artifacts": [{**RECORD["artifacts"][0], "status": "FINE"}]},
        "Invalid enum value 'FINE' - at `$.artifacts[0].status`",
    ),
    ({"gates": None}, "Expected `object`, got `null` - at `$.gates`"),
    ({"gates": {"max_drop_db": "x"}}, "Expected `float | null`, got `str` - at `$.gates.max_drop_db`"),
    ({"gates": {"max_latency_ratios": 1}}, "Expected `array`, got `int` - at `$.gates.max_latency_ratios`"),
    ({"environment": "x"}, "Expected `object`, got `str` - at `$.environment`"),
    ({"checkpoint": None}, "Expected `object`, got `null` - at `$.checkpoint`"),
    ({"checkpoint": {"name": "a"}}, "Object missing required field `file` - at `$.checkpoint`"),
    (
        {"checkpoint": {**RECORD["checkpoint"], "config": {"network": "span"}}},
        "Object missing required field `upscale` - at `$.checkpoint.config`",
    ),
    ({"created": 1}, "Expected `str`, got `int` - at `$.created`"),
    ({"pictures": [{}]}, "Object missing required field `image` - at `$.pictures[0]`"),
    ({"commands": [None]}, "Expected `str`, got `null` - at `$.commands[0]`"),
    ({"failures": "x"}, "Expected `array`, got `str` - at `$.failures`"),
    ({"calibration": 1}, "Expected `object | null`, got `int` - at `$.calibration`"),
    ({"layer_errors": {}}, "Expected `array`, got `object` - at `$.layer_errors`"),
    ({"agreement": [[]]}, "Expected `object`, got `array` - at `$.agreement[0]`"),
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
    assert line.startswith(f"error: {path} is neither of eval --json nor of bench --json: ")


def test_an_estimate_is_told_from_results(written: Callable[[object], Path]) -> None:
    path = written({"schema": 1, "kind": "estimate", "results": [{"artifact": "a.tflite"}]})
    line = only_line(call("report", path))
    assert line == f"error: {path} holds what span-edge estimate computed, and nothing measured; {TAKEN}"
    with pytest.raises(InputError, match="holds no JSON object"):
        read_report(written([]))


def test_the_size_of_an_evaluated_file_is_shown(written: Callable[[object], Path]) -> None:
    shown = call("report", written(document(QUALITY)), "--markdown")
    assert shown.exit_code == 0 and "| a.tflite | tflite | OK | 1.50 | 29.80 |" in shown.stdout
