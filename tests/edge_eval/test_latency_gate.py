"""The gate on one row's time as a part of another's: what its names mean, what fails it, what it refuses."""

import pytest
from gate_support import timed

from edge_eval.gates import Gates
from edge_eval.latency_gate import LatencyRatio, PlannedRow, RowName
from models import InputError

ROWS = (
    timed("net.pth", 100.0, runtime="torch", recipe="fp32"),
    timed("net_fp32.tflite", 90.0, recipe="fp32"),
    timed("net_w8a8.tflite", 45.0, recipe="w8a8"),
    timed("net_w8a8.mlpackage", None, recipe="w8a8", runtime="mil"),
    timed("straight.tflite", 50.0, compared="ai-edge-quantizer"),
)


def failures(ratio: str, *rows: object) -> list[str]:
    """What fails the limit."""
    return list(LatencyRatio.read(ratio).failures(rows or ROWS))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ratio",
    [
        "w8a8/fp32@tflite=0.5",
        "net_w8a8.tflite/net_fp32.tflite=0.5",
        " w8a8@tflite / torch = 0.45",
        "w8a8/ai-edge-quantizer=0.9",
    ],
)
def test_what_is_fast_enough_passes(ratio: str) -> None:
    assert failures(ratio.replace(" = ", "=")) == []


def test_what_is_too_slow_is_named_with_both_times() -> None:
    (line,) = failures("w8a8/fp32@tflite=0.49")
    assert line == (
        "net_w8a8.tflite on tflite takes 0.500 times as long as net_fp32.tflite on tflite (45.00 and "
        "90.00 ms, median, 16x12, 1 thread), more than --max-latency-ratio w8a8/fp32@tflite=0.49"
    )


def test_what_is_a_little_too_slow_has_the_digits_that_show_it() -> None:
    (line,) = failures("w8a8/fp32@tflite=0.5", ROWS[1], timed("net_w8a8.tflite", 45.01, recipe="w8a8"))
    assert "takes 0.5001 times as long" in line and line.endswith("--max-latency-ratio w8a8/fp32@tflite=0.5")


def test_every_size_and_thread_count_is_checked() -> None:
    larger = (
        timed("net_fp32.tflite", 200.0, recipe="fp32", input_hw=(32, 24), threads=2),
        timed("net_w8a8.tflite", 180.0, recipe="w8a8", input_hw=(32, 24), threads=2),
    )
    (line,) = failures("w8a8/fp32@tflite=0.5", *ROWS, *larger)
    assert "0.900 times" in line and "32x24, 2 threads" in line


def test_what_cannot_be_compared_fails() -> None:
    assert failures("w8a8@mil/fp32@tflite=1") == [
        "w8a8@mil/fp32@tflite=1: net_w8a8.mlpackage on mil has no time (an emulator), "
        "so the limit cannot be checked"
    ]
    apart = (timed("a", 1.0, threads=1), timed("b", 1.0, threads=2))
    assert failures("a/b=9", *apart) == [
        "a/b=9: a and b were not timed at one size with as many threads, so the limit cannot be checked"
    ]
    assert failures("a/b=9", timed("a", float("nan")), timed("b", 1.0))


def test_names_that_fit_nothing_or_several_are_refused() -> None:
    with pytest.raises(InputError, match=r"w4 names none of the rows net.pth@torch, .*\(fp32, w8a8\)"):
        failures("w4/fp32@tflite=1")
    with pytest.raises(InputError, match="w8a8@torch names none of the rows"):
        failures("w8a8@torch/fp32@tflite=1")
    with pytest.raises(InputError, match=r"fp32 names net.pth@torch and net_fp32.tflite@tflite; write one"):
        failures("w8a8/fp32=1")


@pytest.mark.parametrize("text", ["w8a8", "w8a8/fp32", "w8a8/fp32=", "w8a8/fp32=fast", "a/b/c=1", "/b=1"])
def test_what_is_no_ratio_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is no latency ratio; give A/B=NUMBER, as w8a8/fp32@tflite=0.5"):
        LatencyRatio.read(text)


def test_ratios_are_written_as_they_are_read() -> None:
    for text in ("w8a8/fp32@tflite=0.5", "a.tflite@tflite/torch=2"):
        assert str(LatencyRatio.read(text)) == text
    assert RowName.read("a@b") == RowName(name="a", runtime="b")


def test_names_are_refused_before_anything_is_timed() -> None:
    plan = [
        PlannedRow(artifact="net.pth", runtime="torch", recipe="fp32"),
        PlannedRow(artifact="net_w8a8.tflite", runtime="tflite", recipe="w8a8"),
        PlannedRow(artifact="net_w8a8.mlpackage", runtime="mil", recipe="w8a8", timed=False),
        PlannedRow(artifact="net_fp32.tflite", runtime="tflite", recipe="fp32"),
    ]

    def refuse(text: str) -> None:
        Gates(max_latency_ratios=(LatencyRatio.read(text),)).refuse_unusable(plan)

    refuse("w8a8/fp32@torch=1")
    with pytest.raises(InputError, match="w8a8@mil|gets no time here"):
        refuse("w8a8@mil/torch=1")
    with pytest.raises(InputError, match="fp32 names net.pth@torch and net_fp32.tflite@tflite"):
        refuse("w8a8/fp32=1")
    with pytest.raises(InputError, match="fp64 names none"):
        refuse("w8a8/fp64=1")
