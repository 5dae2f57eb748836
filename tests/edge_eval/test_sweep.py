"""Sweeps: which rows there are, what is compared with what, and what becomes of what cannot be timed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from convert import to_tflite
from convert.artifact import Artifact, Source
from edge_eval import sweep as sweeps
from edge_eval.sweep import Sweep, Timings, run_sweep
from edge_eval.timed_file import TimedFile, files_on, timed_file
from models import SpanDeploy
from models.errors import InputError
from models.files import sha256_of

FRESH = {"init_ms": 1.5, "peak_rss_mb": 90.0, "base_rss_mb": 40.0}


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "probe_fresh", lambda *asked: dict(FRESH))


@pytest.fixture(scope="module")
def checkpoint(network: SpanDeploy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "net.pth"
    torch.save({"params": network.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def straight(network: SpanDeploy, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The straight float file, which names the checkpoint."""
    out = tmp_path_factory.mktemp("straight") / "net_fp32.tflite"
    source = Source(name="net", sha256=sha256_of(checkpoint))
    return to_tflite(network, recipe="fp32", size=(24, 32), source=source, out=out).path


def timed(files: list[TimedFile], **options: Any) -> Timings:
    asked = {"sizes": ((16, 20),), "threads": (1,), "warmup": 0, "runs": 2, "rounds": 1, **options}
    return run_sweep(files, Sweep(**asked))


def test_every_file_at_every_size_and_thread_count(no_process: None, straight: Path) -> None:
    files = files_on([straight], ("tflite", "tflite-plain"))
    result = timed(files, sizes=(None, (16, 20)), threads=(1, 2), floor=False)
    keys = [(row.runtime, row.input_hw, row.threads) for row in result.latencies]
    sizes = ((24, 32), (16, 20))
    assert keys == [
        (name, hw, count) for hw in sizes for count in (1, 2) for name in ("tflite", "tflite-plain")
    ]
    assert all(row.native_hw == (24, 32) for row in result.latencies)
    assert result.floors == () and all(row.floor_ms is None for row in result.latencies)


def test_figures_that_follow_from_the_time(no_process: None, straight: Path, checkpoint: Path) -> None:
    result = timed(files_on([straight, checkpoint], ()))
    file, torch_row = result.latencies
    assert file.recipe == torch_row.recipe == "fp32"
    assert file.output_hw == torch_row.output_hw == (32, 40)
    assert file.median_ms and file.fps == pytest.approx(1e3 / file.median_ms)
    assert file.ms_per_output_mp == pytest.approx(file.median_ms / (32 * 40 / 1e6))
    (floor,) = result.floors
    for row in result.latencies:
        assert row.macs and row.median_ms
        expected = row.macs / (floor.gmacs_per_s["fp32"] * 1e9) * 1e3
        assert row.floor_ms == pytest.approx(expected)
        assert row.floor_ratio == pytest.approx(row.median_ms / expected)
        assert row.float_row == "net_fp32.tflite on tflite"
        assert row.float_ratio == pytest.approx(row.median_ms / file.median_ms)
        assert json.loads(json.dumps(row.to_json())) == row.to_json()
    assert file.float_ratio == 1.0 and torch_row.native_hw is None


def test_the_float_row_is_of_the_same_network_and_runtime_if_there_is_one(
    no_process: None, straight: Path, checkpoint: Path, tflite_float: Artifact
) -> None:
    files = files_on([straight, tflite_float.path], ("tflite", "tflite-plain"))
    files += [
        TimedFile(
            path=straight, runtime="tflite-reference", recipe="w8a8", source_sha256=sha256_of(checkpoint)
        )
    ]
    rows = {(row.artifact, row.runtime): row.float_row for row in timed(files).latencies}
    assert rows == {
        ("net_fp32.tflite", "tflite"): "net_fp32.tflite on tflite",
        ("net_fp32.tflite", "tflite-plain"): "net_fp32.tflite on tflite-plain",
        ("float.tflite", "tflite"): "float.tflite on tflite",
        ("float.tflite", "tflite-plain"): "float.tflite on tflite-plain",
        ("net_fp32.tflite", "tflite-reference"): "net_fp32.tflite on tflite",
    }


def test_without_a_straight_float_file_there_is_no_ratio(no_process: None, checkpoint: Path) -> None:
    (row,) = timed(files_on([checkpoint], ())).latencies
    assert row.float_row is None and row.float_ratio is None and row.floor_ratio is not None


def test_macs_are_counted_off_the_file(straight: Path, checkpoint: Path) -> None:
    file, network = timed_file(straight), timed_file(checkpoint)
    assert file.macs((16, 20)) == network.macs((16, 20))
    assert timed_file(straight).macs((32, 20)) == {
        name: 2 * count for name, count in (file.macs((16, 20)) or {}).items()
    }


def test_what_cannot_be_opened_gives_its_reason_in_its_row(
    monkeypatch: pytest.MonkeyPatch, no_process: None, straight: Path
) -> None:
    plain = sweeps.open_runner

    def choosy(path: Path, **options: Any) -> Any:
        if options["input_hw"] == (20, 20):
            raise InputError(f"{path} does not go at 20x20 (HxW): fixed")
        return plain(path, **options)

    monkeypatch.setattr(sweeps, "open_runner", choosy)
    files = files_on([straight], ())
    bad, good = timed(files, sizes=((20, 20), (16, 16))).latencies
    assert bad.reason and "does not go at 20x20" in bad.reason and bad.median_ms is None
    assert bad.runs == 0 and bad.ops == {} and bad.samples_ms == ()
    assert good.reason is None and good.median_ms
    with pytest.raises(InputError, match="does not go at 20x20"):
        timed(files, sizes=((20, 20),))
    with pytest.raises(InputError, match="does not go at 20x20"):
        timed(files, sizes=((20, 20), (16, 16)), strict=True)


def test_files_that_would_not_fit_side_by_side(
    monkeypatch: pytest.MonkeyPatch, no_process: None, straight: Path, tflite_float: Artifact
) -> None:
    free = psutil.virtual_memory()._replace(available=90 * 2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    first, second = timed(files_on([straight, tflite_float.path], ()), floor=False).latencies
    assert first.median_ms and second.median_ms is None
    assert second.reason == (
        "float.tflite at 16x20 and the files it takes turns with need 100 MiB, and 76 MiB are to be had; "
        "time fewer files at once"
    )


def test_a_reason_known_before_is_kept(no_process: None, straight: Path) -> None:
    absent = TimedFile(path=Path("nowhere"), runtime="openvino", compared="openvino", reason="not installed")
    row = timed([absent, *files_on([straight], ())]).latencies[0]
    assert (row.reason, row.size_bytes, row.compared) == ("not installed", 0, "openvino")


def test_noise_is_the_same_every_time() -> None:
    np.testing.assert_array_equal(sweeps._image((4, 4), 3), sweeps._image((4, 4), 3))


class TestFilesOn:
    def test_each_file_on_the_runtimes_of_its_kind(self, straight: Path, checkpoint: Path) -> None:
        files = files_on([straight, checkpoint], ("tflite-plain", "torch", "tflite"))
        assert [(file.path.name, file.runtime) for file in files] == [
            ("net_fp32.tflite", "tflite-plain"),
            ("net_fp32.tflite", "tflite"),
            ("net.pth", "torch"),
        ]

    def test_all_is_all_that_do_not_emulate(self, straight: Path) -> None:
        names = [file.runtime for file in files_on([straight], ("all",))]
        assert names == ["tflite", "tflite-plain", "tflite-reference", "tflite-compiled", "tensorflow"]

    def test_refusals(self, straight: Path, checkpoint: Path, tmp_path: Path) -> None:
        with pytest.raises(
            InputError, match="runtime torch runs checkpoint files, and this is a tflite file"
        ):
            files_on([straight], ("torch",))
        with pytest.raises(InputError, match="runtime mil runs none of the files; it is for coreml files"):
            files_on([straight], ("tflite", "mil"))
        with pytest.raises(InputError, match="there is no runtime 'cuda'"):
            files_on([straight], ("cuda",))
        with pytest.raises(InputError, match=r"none\.tflite does not exist; give a checkpoint"):
            files_on([tmp_path / "none.tflite"], ())

    def test_a_file_of_others_tells_nothing(self, straight: Path, tmp_path: Path) -> None:
        from convert.tflite_file import pack, unpack

        model = unpack(straight.read_bytes())
        model.metadata = []
        (tmp_path / "foreign.tflite").write_bytes(pack(model))
        (file,) = files_on([tmp_path / "foreign.tflite"], ())
        assert file.recipe is None and file.source_sha256 is None and not file.is_straight_float
        assert replace(file, recipe="fp32").is_straight_float
