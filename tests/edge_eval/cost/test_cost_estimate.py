"""Estimates: the formula, the profiles, the check on this computer, and the command."""

import json
from pathlib import Path

import click.testing
import pytest

from convert.artifact import Artifact
from edge_eval.cli import span_edge
from edge_eval.cost import (
    MODEL,
    Costs,
    OpCost,
    Profile,
    check_on_host,
    estimate,
    known_profiles,
    measure_host,
    read_profile,
)
from edge_eval.cost import check as check_module
from edge_eval.cost.check import CheckedFile, judge
from edge_eval.cost.operation import PRECISIONS
from models.errors import InputError

DEVICE = Profile(
    name="made-up",
    what="",
    peak_gops={"fp32": 100.0, "int8": 400.0, "fp16": None},
    bandwidth_gb_s=10.0,
    sources={},
)
PUBLISHED = [name for name in known_profiles() if name != "host"]


def op(**changes: object) -> OpCost:
    given = {
        "name": "x",
        "kind": "CONV_2D",
        "precision": "fp32",
        "macs": 5_000_000,
        "other_ops": 0,
        "weight_bytes": 0,
        "read_bytes": 500_000,
        "write_bytes": 0,
    }
    return OpCost(**{**given, **changes})  # type: ignore[arg-type]


def costs(*operations: OpCost) -> Costs:
    return Costs(artifact="a.tflite", format="tflite", input_hw=(8, 8), operations=operations)


def test_the_roofline_by_hand() -> None:
    guess = estimate(costs(op(), op(read_bytes=5_000_000), op(precision="int8")), DEVICE)
    assert [part.compute_ms for part in guess.operations] == pytest.approx([0.1, 0.1, 0.025])
    assert [part.memory_ms for part in guess.operations] == pytest.approx([0.05, 0.5, 0.05])
    assert [part.bound for part in guess.operations] == ["compute", "memory", "memory"]
    assert guess.estimated_ms == pytest.approx(0.1 + 0.5 + 0.05) and guess.reason is None


def test_what_only_moves_needs_no_peak() -> None:
    mover = op(kind="RESHAPE", precision="fp16", macs=0)
    assert estimate(costs(mover), DEVICE).estimated_ms == pytest.approx(0.05)


def test_an_unknown_figure_gives_no_estimate_but_a_reason() -> None:
    guess = estimate(costs(op(), op(precision="fp16"), op(precision="int16")), DEVICE)
    assert guess.estimated_ms is None and guess.compute_ms is None
    assert guess.memory_ms == pytest.approx(0.15)
    assert guess.reason == "no public figure is known for made-up's fp16 rate and int16 rate"
    blind = Profile(name="b", what="", peak_gops={"fp32": 1.0}, bandwidth_gb_s=None, sources={})
    assert estimate(costs(op()), blind).reason == "no public figure is known for b's memory bandwidth"


def test_estimates_say_that_they_are() -> None:
    entry = estimate(costs(op()), DEVICE).to_json()
    assert (entry["kind"], entry["model"], entry["profile"]) == ("estimate", MODEL, "made-up")
    assert not [key for key in entry if "latency" in key or "median" in key]
    json.dumps(entry, allow_nan=False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_figure_of_a_profile_has_a_source(name: str) -> None:
    profile = read_profile(name)
    assert profile.name == name and profile.what
    assert set(profile.peak_gops) == set(PRECISIONS.values())
    figures = {**profile.peak_gops, "bandwidth_gb_s": profile.bandwidth_gb_s}
    for key, value in figures.items():
        assert value is None or value > 0
        assert len(profile.sources[key]) > 10
        if value is None:
            assert profile.sources[key].startswith("unknown")


def test_a_profile_that_does_not_exist() -> None:
    with pytest.raises(InputError, match="there is no profile 'pixel-99'; there are host, apple-a17"):
        read_profile("pixel-99")


def test_this_computer_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_eval.cost import profile as profile_module

    monkeypatch.setattr(profile_module, "SIDE", 128)
    monkeypatch.setattr(profile_module, "COPY_BYTES", 1 << 20)
    host = measure_host(threads=1)
    assert host.peak_gops["fp16"] is None and "not measured" in host.sources["fp16"]
    for rate in (host.peak_gops["fp32"], host.peak_gops["int8"], host.bandwidth_gb_s):
        assert rate is not None and rate > 0
    assert "measured now" in host.sources["fp32"] and "1 threads" in host.what


def checked(estimated: float, measured: float) -> CheckedFile:
    return CheckedFile(artifact="a", input_hw=(8, 8), estimated_ms=estimated, measured_ms=measured)


def test_the_models_error_by_hand() -> None:
    result = judge((checked(1, 2), checked(2, 4), checked(4, 8)), DEVICE)
    assert (result.rank_correlation, result.typical_ratio, result.spread) == pytest.approx((1, 2, 1))
    worse = judge((checked(1, 8), checked(2, 4), checked(4, 2)), DEVICE)
    assert worse.rank_correlation == pytest.approx(-1) and worse.typical_ratio == pytest.approx(2)
    assert worse.spread == pytest.approx(4)
    assert judge((checked(1, 2), checked(2, 4)), DEVICE).rank_correlation is None


def test_the_check_runs_here(tflite_float: Artifact, tflite_uint8: Path) -> None:
    host = Profile(
        name="host",
        what="",
        peak_gops={"fp32": 50.0, "int8": 200.0},
        bandwidth_gb_s=10.0,
        sources={},
    )
    files = [tflite_float.path, tflite_uint8, tflite_float.path]
    result = check_on_host(files, threads=1, runs=2, profile=host)
    assert [entry.artifact for entry in result.files] == [path.name for path in files]
    assert all(entry.measured_ms > 0 and entry.estimated_ms > 0 for entry in result.files)
    assert result.rank_correlation is not None and -1 <= result.rank_correlation <= 1
    document = result.to_json()
    assert document["model"] == MODEL and len(document["files"]) == 3
    json.dumps(document, allow_nan=False)


def test_what_cannot_be_checked_here(tflite_float: Artifact) -> None:
    no_float = Profile(name="host", what="", peak_gops={}, bandwidth_gb_s=1.0, sources={})
    with pytest.raises(
        InputError, match="no file can be checked on this computer: .*: no public.*fp32 rate; leave"
    ):
        check_on_host([tflite_float.path], threads=1, runs=1, profile=no_float)


def run(*words: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(span_edge, ["estimate", *(str(word) for word in words)])


def test_the_command(tflite_float: Artifact, tmp_path: Path) -> None:
    target = tmp_path / "estimate.json"
    result = run(tflite_float.path, "--size", "20x24", "--json", target)
    assert result.exit_code == 0, result.output
    assert f"estimates by the model {MODEL}, not latencies" in result.output
    assert "SKIPPED apple-a17-pro-neural-engine: no public figure is known" in result.output
    document = json.loads(target.read_text())
    assert document["kind"] == "estimate" and document["check"] is None
    assert [entry["profile"] for entry in document["results"]] == PUBLISHED
    assert {profile["name"] for profile in document["profiles"]} == set(PUBLISHED)
    times = {entry["profile"]: entry["estimated_ms"] for entry in document["results"]}
    assert times["raspberry-pi-5-cpu"] > times["snapdragon-855-cpu"] > 0
    assert times["apple-m4-neural-engine"] is None


def test_the_commands_check(tflite_float: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "measure_host", lambda threads: DEVICE)
    device = ("--profile", "raspberry-pi-5-cpu")
    words = (tflite_float.path, *device, "--check", "--threads", 1, "--size", "16x16")
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "too few files to rank; measured is" in result.output


def test_the_list_of_devices_tells_sources() -> None:
    result = run("--profiles")
    assert result.exit_code == 0
    assert "fp32: 153.6 10^9 operations/s; 4 cores x 2.4 GHz x 16" in result.output
    assert "int8: unknown, for the same reason" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give files to estimate, or --profiles"),
        (("a.pth",), "a.pth has no operations to count"),
    ],
)
def test_what_the_command_refuses(words: tuple[str, ...], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2 or isinstance(result.exception, InputError)
    assert said in result.output + str(result.exception)


def test_an_unknown_device_is_refused_by_the_command(tflite_float: Artifact) -> None:
    result = run(tflite_float.path, "--profile", "nokia")
    assert result.exit_code == 2 and "there is no profile 'nokia'" in result.output
