"""Figures out of benchmark_model's text, in its newer and its older form."""
# ruff: noqa: E501 - lines are as long as the tool makes them

import pytest
from device_support import CPU

from edge_eval.device import read_transcript
from edge_eval.device.transcript import last_error

OLD = """\
STARTING!
Initialized session in 17.187ms.
count=1 curr=3512391

count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, Inference (avg): 2.95034e+06
Memory footprint delta from the start of the tool (MB): init=4.21094 overall=46.0859
"""


def test_the_newer_form() -> None:
    read = read_transcript(CPU)
    assert read is not None
    assert (read.runs, read.init_ms, read.first_ms, read.min_ms) == (60, 15.5, 87.112, 49.088)
    assert read.mean_ms == pytest.approx(50.3743) and read.std_ms == 0.716
    assert (read.median_ms, read.p95_ms, read.peak_rss_mb) == (51.891, 53.828, 61.75)
    assert read.delegated == {"TfLiteXNNPackDelegate": (44, 44)} and read.refused == ()


def test_the_older_form_has_no_median() -> None:
    read = read_transcript(OLD)
    assert read is not None
    assert (read.runs, read.median_ms, read.p95_ms) == (50, None, None)
    assert read.mean_ms == pytest.approx(2950.34) and read.min_ms == pytest.approx(2727.568)
    assert read.peak_rss_mb == 46.0859 and read.delegated == {}


def test_a_single_run_is_its_own_minimum() -> None:
    timings = "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4000"
    one = f"count=1 curr=3512391\n{timings}"
    read = read_transcript(one)
    assert read is not None and (read.runs, read.min_ms, read.std_ms) == (1, 4.0, 0.0)


@pytest.mark.parametrize("text", ["", "INFO: STARTING!", "count=5 first=1 avg=2", OLD.replace("count", "c")])
def test_no_end_no_figures(text: str) -> None:
    assert read_transcript(text) is None


def test_the_last_error_is_told() -> None:
    assert last_error("INFO: a\nERROR: one\nERROR: two\nINFO: b\n") == "two"
    assert last_error("a\nSegmentation fault \n\n") == "Segmentation fault"
    assert last_error("") == "it printed nothing"
