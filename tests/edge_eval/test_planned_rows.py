"""The rows that a benchmark will have: which get a time, and which are told apart by their size."""

import shutil
from pathlib import Path

import pytest

from convert.artifact import Artifact
from edge_eval.latency_gate import LatencyRatio, PlannedRow
from edge_eval.planned_rows import planned_files
from edge_eval.timed_file import TimedFile
from models import InputError


def test_files_at_sizes_of_their_own_are_told_apart_by_them() -> None:
    rows = [
        PlannedRow(artifact=f"{recipe}_{side}.tflite", runtime="tflite", recipe=recipe, input_hw=(side, side))
        for recipe in ("fp32", "w8a8")
        for side in (16, 24)
    ]
    limit = LatencyRatio.read("w8a8/fp32=1")
    limit.refuse_unusable(rows)
    again = PlannedRow(artifact="more.tflite", runtime="tflite", recipe="w8a8", input_hw=(24, 24))
    with pytest.raises(InputError, match=r"w8a8 names w8a8_24\.tflite@tflite and more\.tflite@tflite; write"):
        limit.refuse_unusable([*rows, again])


def test_what_cannot_be_opened_or_is_emulated_gets_no_time(tflite_float: Artifact, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    shutil.copy(tflite_float.path, damaged)
    damaged.write_bytes(damaged.read_bytes()[:200])
    files = [
        TimedFile(path=tflite_float.path, runtime="tflite", recipe="fp32"),
        TimedFile(path=damaged, runtime="tflite"),
        TimedFile(path=tmp_path / "a.mlpackage", runtime="mil"),
        TimedFile(path=tmp_path / "a.onnx", runtime="onnxruntime", compared="onnxruntime", reason="absent"),
    ]
    rows = planned_files(files, one_size=False)
    assert [row.timed for row in rows] == [True, False, False, False]
    assert [row.input_hw for row in rows] == [(48, 56), None, None, None]
    assert rows[0].recipe == "fp32" and rows[3].compared == "onnxruntime"
    assert planned_files(files[:1], one_size=True)[0].input_hw is None
