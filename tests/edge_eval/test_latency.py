"""Timing: its fields, its arithmetic, the turns; never a time."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.artifact import Artifact
from convert.formats import FORMATS
from edge_eval import latency, sweep, timed_file
from edge_eval.environment import cpu_name, environment
from edge_eval.latency import DEFAULT_HW, bench, count_ops, native_hw, probe_fresh
from models import SpanDeploy
from models.errors import InputError

FIELDS = [
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
]
FRESH = {"init_ms": 1.5, "peak_rss_mb": 90.0, "base_rss_mb": 40.0}


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "probe_fresh", lambda *asked: dict(FRESH))


def test_the_fields_are_those_of_the_contract(tflite_float: Artifact) -> None:
    (result,) = bench([tflite_float.path], threads=1, input_hw=(24, 32), warmup=1, runs=7, rounds=3)
    entry = result.to_json()
    assert list(entry)[: len(FIELDS)] == FIELDS
    assert json.loads(json.dumps(entry)) == entry
    assert (entry["runtime"], entry["threads"], entry["input_hw"], entry["runs"]) == (
        "tflite",
        1,
        [24, 32],
        7,
    )
    samples = entry["samples_ms"]
    assert len(samples) == 7 and min(samples) > 0 and entry["rounds"] == 3
    assert entry["median_ms"] == pytest.approx(np.median(samples))
    assert entry["p90_ms"] == pytest.approx(np.percentile(samples, 90))
    assert entry["min_ms"] == min(samples) and entry["mean_ms"] == pytest.approx(np.mean(samples))
    assert entry["std_ms"] == pytest.approx(np.std(samples))
    assert entry["peak_rss_mb"] > entry["base_rss_mb"] > 10 and entry["init_ms"] > 0
    assert entry["size_bytes"] == tflite_float.size_bytes
    assert entry["ops"]["DEPTH_TO_SPACE"] == 1 and entry["outside"] == [] and entry["reason"] is None


def test_files_take_turns(monkeypatch: pytest.MonkeyPatch, no_process: None, tflite_float: Artifact) -> None:
    log: list[str] = []

    class Fake:
        scale = 2

        def __init__(self, name: str) -> None:
            self.name = name

        def load(self, image: np.ndarray) -> None:
            assert image.shape == (8, 8, 3)

        def invoke(self) -> None:
            log.append(self.name)

    paths = [tflite_float.path.with_name(f"{name}.tflite") for name in "xy"]
    for path in paths:
        path.write_bytes(tflite_float.path.read_bytes())
    monkeypatch.setattr(sweep, "open_runner", lambda path, **options: Fake(path.stem))
    results = bench(paths, threads=1, input_hw=(8, 8), warmup=2, runs=5, rounds=2)
    assert "".join(log) == "xxxxxyyyyy" + "yyyxxx"
    assert [len(result.samples_ms) for result in results] == [5, 5]


def test_the_emulator_has_no_latency(
    monkeypatch: pytest.MonkeyPatch, no_process: None, tmp_path: Path
) -> None:
    package = tmp_path / "a.mlpackage"
    package.mkdir()
    (package / "weights").write_bytes(b"12345")

    class Emulated:
        native_hw = (32, 32)
        scale = 2

        def invoke(self) -> None:
            raise AssertionError("the emulator is not timed")

    for module in (latency, sweep):
        monkeypatch.setattr(module, "open_runner", lambda path, **options: Emulated())
    monkeypatch.setattr(timed_file, "default_runtime", lambda kind: "mil")
    monkeypatch.setattr(
        "convert.formats.FORMATS", {"coreml": replace(FORMATS["coreml"], metadata=lambda _: None)}
    )
    monkeypatch.setitem(latency._COUNTERS, "coreml", lambda path: {"conv": 22})
    (result,) = bench([package], runs=3)
    entry = result.to_json()
    for name in ("init_ms", "median_ms", "p90_ms", "min_ms", "mean_ms", "std_ms", "peak_rss_mb"):
        assert entry[name] is None, name
    assert entry["ops"] == {"conv": 22} and entry["size_bytes"] == 5 and entry["samples_ms"] == []
    assert "emulates Core ML's numbers; its time is not a latency" in entry["reason"]


def test_sizes_come_from_the_file(tflite_float: Artifact, tmp_path: Path) -> None:
    assert native_hw(tflite_float.path, "tflite") == (48, 56)
    assert native_hw(tmp_path / "a.pth", "torch") == DEFAULT_HW


def test_ops_of_a_checkpoint(network: SpanDeploy, tmp_path: Path) -> None:
    import torch

    torch.save({"params": network.state_dict()}, tmp_path / "a.pth")
    assert count_ops(tmp_path / "a.pth")["Conv2d"] == len(network.convolutions())


def test_requests_that_make_no_sense(tflite_float: Artifact) -> None:
    with pytest.raises(
        InputError, match="1 files, 0 runs and 5 warm-up runs were asked for; give a file, and 1 run"
    ):
        bench([tflite_float.path], runs=0)
    with pytest.raises(InputError, match="0 files"):
        bench([])


def test_a_fresh_process_says_why_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_text("hello")
    with pytest.raises(InputError, match=r"a\.tflite.* cannot be .* \(\d+ MiB of memory were to be had\)"):
        probe_fresh(tmp_path / "a.tflite", "tflite", 1, (16, 16))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
def test_a_fresh_process_takes_no_more_memory_than_is_free(
    tflite_float: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "free_mb", lambda: 40.0)
    with pytest.raises(InputError, match=r"does not go at 640x640.*\(40 MiB of memory were to be had\)"):
        probe_fresh(tflite_float.path, "tflite", 1, (640, 640))
    monkeypatch.undo()
    assert probe_fresh(tflite_float.path, "tflite", 1, (48, 56))["peak_rss_mb"] > 0


def test_a_fresh_process_that_is_killed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed = subprocess.CompletedProcess(args=[], returncode=-9, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: killed)
    message = "a at 4000x4000 was killed by signal 9 in a fresh process with tflite, most likely for want of"
    with pytest.raises(InputError, match=message):
        probe_fresh(tmp_path / "a", "tflite", 1, (4000, 4000))


def test_the_environment_is_json_and_names_the_machine() -> None:
    facts = environment()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["cpu"] == cpu_name() != ""
    assert facts["usable_threads"] >= 1 and len(facts["load_average"]) == 3
    assert {"torch", "ai-edge-litert", "numpy"} <= set(facts["versions"])
