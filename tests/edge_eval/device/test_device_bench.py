"""Files timed on a device, as far as a device can be played."""

import json
import shutil
from pathlib import Path

import click.testing
import pytest
from device_support import CPU, NPU_FAILS, FakeDevice

from convert.artifact import Artifact
from edge_eval.cli import span_edge
from edge_eval.device import DELEGATES, bench_on_device, find_device
from edge_eval.report_data import results_of
from models.errors import InputError


def test_every_delegate_has_its_figures(fake: FakeDevice, tool: Path, tflite_float: Artifact) -> None:
    device = find_device()
    assert device.name == "Phone 1 CHIP1 SER1AL"
    cpu, gpu, npu = bench_on_device([tflite_float.path], device=device, tool=tool)
    assert (cpu.runtime, cpu.median_ms, cpu.p95_ms, cpu.p90_ms) == ("adb-cpu", 51.891, 53.828, None)
    assert (cpu.threads, cpu.warmup, cpu.runs, cpu.input_hw) == (4, 5, 60, (48, 56))
    assert (cpu.init_ms, cpu.peak_rss_mb, cpu.first_ms, cpu.note) == (15.5, 61.75, 87.112, None)
    assert cpu.size_bytes == tflite_float.path.stat().st_size and cpu.ops["CONV_2D"] > 5
    assert gpu.delegated == (40, 44) and gpu.mean_ms == pytest.approx(35.1349) and gpu.median_ms is None
    assert gpu.note == (
        "adb-gpu runs 40 of 44 operations, the CPU the rest; "
        "this benchmark_model prints no median; the mean is 35.13 ms"
    )
    assert npu.median_ms is npu.mean_ms is npu.init_ms is None and npu.runs == 0
    assert npu.reason == "the device's NNAPI delegate runs nothing of this file; the CPU would have run it"


def test_nothing_stays_on_the_device(fake: FakeDevice, tool: Path, tflite_float: Artifact) -> None:
    bench_on_device([tflite_float.path], device=find_device(), tool=tool, delegates=["cpu"])
    pushed = [line.split()[-1] for line in fake.asked() if " push " in line]
    assert len(pushed) == 2 and all(path.startswith("/data/local/tmp/span-edge-") for path in pushed)
    assert fake.files() == []
    fake.play(full=True)
    with pytest.raises(
        InputError, match="adb -s SER1AL push failed with exit code 1: .*No space left on device"
    ):
        bench_on_device([tflite_float.path], device=find_device(), tool=tool)
    assert "rm -rf /data/local/tmp/span-edge-" in fake.asked()[-1]


def test_what_is_asked_for_is_what_the_tool_is_told(
    fake: FakeDevice, tool: Path, tflite_float: Artifact
) -> None:
    options = {"threads": 2, "input_hw": (20, 24), "warmup": 3, "runs": 7}
    bench_on_device(
        [tflite_float.path], device=find_device("SER1AL"), tool=tool, delegates=["npu"], **options
    )
    (line,) = [line for line in fake.asked() if "--graph=" in line]
    for flag in (
        "num_threads=2",
        "warmup_runs=3",
        "num_runs=7",
        "input_layer_shape=1,20,24,3",
        "use_nnapi=true",
    ):
        assert f"--{flag} " in line or f"--{flag})" in line


def test_a_delegate_that_fails_is_a_reason_and_not_the_end(
    fake: FakeDevice, tool: Path, tflite_float: Artifact
) -> None:
    fake.play(runs={"cpu": [0, CPU], "npu": [1, NPU_FAILS]})
    npu, cpu = bench_on_device([tflite_float.path], device=find_device(), tool=tool, delegates=["npu", "cpu"])
    assert npu.reason == (
        "benchmark_model failed with exit code 1 for adb-npu: Failed to apply NNAPI delegate."
    )
    assert cpu.median_ms == 51.891


def test_silence_about_a_delegate_is_no_proof_of_it(
    fake: FakeDevice, tool: Path, tflite_float: Artifact
) -> None:
    fake.play(runs={"gpu": [0, CPU]})
    (gpu,) = bench_on_device([tflite_float.path], device=find_device(), tool=tool, delegates=["gpu"])
    assert gpu.median_ms is None and "GPU delegate runs nothing of this file" in str(gpu.reason)


def test_a_device_that_goes_away(fake: FakeDevice, tool: Path, tflite_float: Artifact) -> None:
    fake.play(gone=True)
    with pytest.raises(InputError, match="the device SER1AL broke off in the middle of: "):
        bench_on_device([tflite_float.path], device=find_device(), tool=tool)


@pytest.mark.parametrize(
    ("devices", "serial", "said"),
    [
        ({}, None, "no Android device that answers; adb lists none: turn on USB debugging"),
        (
            {"A": "unauthorized"},
            None,
            r"no Android device that answers; adb lists A \(unauthorized\): turn on",
        ),
        ({"A": "device"}, "B", r"no device B; adb lists A \(device\)"),
        ({"A": "offline", "B": "device"}, "A", r"no device A; adb lists A \(offline\), B \(device\)"),
        ({"A": "device", "B": "device"}, None, "there are 2 devices; name one: --adb A or --adb B"),
    ],
)
def test_which_device_is_missing(
    fake: FakeDevice, devices: dict[str, str], serial: str | None, said: str
) -> None:
    fake.play(devices=devices)
    with pytest.raises(InputError, match=said):
        find_device(serial)


def test_without_adb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="adb is not on the PATH; install Android's platform-tools"):
        find_device()


def test_what_cannot_be_timed(fake: FakeDevice, tool: Path, tflite_float: Artifact, tmp_path: Path) -> None:
    device = find_device()
    with pytest.raises(
        InputError, match="no benchmark_model; give --benchmark-model FILE, TensorFlow Lite's"
    ):
        bench_on_device([tflite_float.path], device=device, tool=None)
    with pytest.raises(InputError, match="no .*absent; give --benchmark-model"):
        bench_on_device([tflite_float.path], device=device, tool=tmp_path / "absent")
    with pytest.raises(
        InputError, match=r"x\.mlpackage is no \.tflite file; benchmark_model on a device runs"
    ):
        bench_on_device([tmp_path / "x.mlpackage"], device=device, tool=tool)
    with pytest.raises(InputError, match="dsp is no delegate; choose cpu, gpu, npu"):
        bench_on_device([tflite_float.path], device=device, tool=tool, delegates=["dsp"])


def test_the_command_writes_what_bench_writes(
    fake: FakeDevice, tool: Path, tflite_float: Artifact, tmp_path: Path
) -> None:
    target = tmp_path / "bench.json"
    words = ["bench", tflite_float.path, "--benchmark-model", tool, "--json", target, "--adb"]
    result = click.testing.CliRunner().invoke(span_edge, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    document = json.loads(target.read_text())
    assert document["environment"]["device"]["model"] == "Phone 1"
    _, latencies = results_of(document)
    assert [entry.runtime for entry in latencies] == [row.runtime for row in DELEGATES.values()]
    assert latencies[0].median_ms == 51.891 and latencies[2].reason
    assert "times are the device's" in result.output and "this computer's" not in result.output
    assert "adb-gpu runs 40 of 44 operations" in result.output
    assert "p90 ms" not in result.output and "x floor" not in result.output


def test_rows_have_what_a_host_s_have(
    fake: FakeDevice, tool: Path, tflite_float: Artifact, tmp_path: Path
) -> None:
    other = tmp_path / "same.tflite"
    shutil.copy(tflite_float.path, other)
    first, second, third = bench_on_device(
        [tflite_float.path, other], device=find_device(), tool=tool, delegates=["cpu", "gpu"]
    )[:3]
    for row in (first, third):
        assert (row.runtime, row.recipe, row.native_hw, row.output_hw) == (
            "adb-cpu",
            "fp32",
            (48, 56),
            (96, 112),
        )
        assert row.fps == pytest.approx(1e3 / 51.891)
        assert row.ms_per_output_mp == pytest.approx(51.891e6 / (96 * 112))
        assert (row.float_ratio, row.float_row) == (1.0, "float.tflite on adb-cpu")
    assert second.recipe == "fp32" and second.output_hw == (96, 112)
    assert second.fps is second.float_ratio is second.float_row is None, "its tool prints no median"


@pytest.fixture
def timing(fake: FakeDevice, tool: Path, tflite_float: Artifact) -> list[str]:
    """A `bench` on the device, to which options can be added."""
    return ["bench", str(tflite_float.path), "--benchmark-model", str(tool), "--adb=SER1AL"]


def test_documents_and_reports_name_the_device(timing: list[str], tmp_path: Path) -> None:
    written, page, html = (tmp_path / name for name in ("a.json", "a.md", "a.html"))
    invoke = click.testing.CliRunner().invoke
    done = invoke(span_edge, [*timing, "--json", str(written), "--markdown", str(page)])
    assert done.exit_code == 0, done.output
    shown = invoke(span_edge, ["report", str(written), "-o", str(html)])
    assert shown.exit_code == 0, shown.output
    printed = invoke(span_edge, ["report", str(written)])
    for text in (page.read_text(), html.read_text(), printed.output, done.output):
        assert "Phone 1 CHIP1 SER1AL" in text
        assert "this computer" not in text and "this host" not in text
        assert "frames/s" in text and "prints no median; the mean is 35.13 ms" in text
    assert "times are the device's (Phone 1 CHIP1 SER1AL), by benchmark_model" in printed.output


def test_a_limit_finds_the_rows_of_a_device(timing: list[str], tmp_path: Path) -> None:
    invoke = click.testing.CliRunner().invoke
    assert invoke(span_edge, [*timing, "--max-latency-ratio", "fp32@adb-cpu/fp32@adb-cpu=1"]).exit_code == 0
    page = tmp_path / "a.md"
    words = ["--max-latency-ratio", "fp32@adb-cpu/fp32@adb-cpu=0.5", "--markdown", str(page)]
    slow = invoke(span_edge, [*timing, *words])
    assert slow.exit_code == 1 and "FAILED float.tflite on adb-cpu takes" in slow.output
    assert "- **FAILED** float.tflite on adb-cpu takes" in page.read_text()
    gpu = invoke(span_edge, [*timing, "--max-latency-ratio", "fp32@adb-gpu/fp32@adb-cpu=1"])
    assert gpu.exit_code == 1
    assert "float.tflite on adb-gpu has no median, only a mean of 35.13 ms" in gpu.output


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("nope/fp32@adb-cpu=1", "nope names none of the rows float.tflite@adb-cpu"),
        ("fp32/fp32@adb-cpu=1", "fp32 names float.tflite@adb-cpu and float.tflite@adb-gpu"),
    ],
)
def test_a_limit_that_cannot_be_checked_is_refused_before_the_device_is_asked(
    timing: list[str], fake: FakeDevice, limit: str, said: str
) -> None:
    result = click.testing.CliRunner().invoke(span_edge, [*timing, "--max-latency-ratio", limit])
    assert result.exit_code == 2 and said in result.stderr and not result.stdout
    assert not (fake.home / "asked.txt").exists()


def test_an_adb_that_is_no_program(fake: FakeDevice, timing: list[str]) -> None:
    (fake.home / "adb").write_bytes(b"\x7fELF no program")
    result = click.testing.CliRunner().invoke(span_edge, timing)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert f"cannot run {fake.home / 'adb'}: Exec format error; install Android's platform-tools" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--runtime", "tflite", "--adb"], "--runtime is for this computer, --adb for a device"),
        (["--delegates", "dsp", "--adb"], "dsp is no delegate here; choose from cpu, gpu, npu"),
        (["--profile", "--adb"], "--profile and --adb: profiling on a device is not supported"),
        (["--threads", "1,2", "--adb"], "several --threads and --adb: a device takes one size and one"),
        (["--calibration", "x", "--adb"], "--calibration and --adb: on a device the given files are timed"),
    ],
)
def test_options_that_do_not_go_together(
    fake: FakeDevice, tflite_float: Artifact, words: list[str], said: str
) -> None:
    result = click.testing.CliRunner().invoke(span_edge, ["bench", str(tflite_float.path), *words])
    assert result.exit_code == 2 and said in result.output


def test_a_file_after_adb_is_no_serial_number(fake: FakeDevice, tflite_float: Artifact) -> None:
    path = str(tflite_float.path)
    result = click.testing.CliRunner().invoke(span_edge, ["bench", path, "--adb", path])
    assert result.exit_code == 2 and "write --adb after the files, or --adb=SERIAL" in result.output
