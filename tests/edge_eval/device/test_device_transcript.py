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


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(  # github.com/tensorflow/tensorflow/issues/42507: a x2 network on an Android CPU, 4 threads
            """\
Num threads: [4]
Initialized session in 0.855ms.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Peak memory footprint (MB): init=0 overall=12.8672
""",
            {"init_ms": 0.855, "first_ms": 49.06, "min_ms": 32.641, "mean_ms": 33.2094, "std_ms": 0.45},
            id="Android CPU, 2020",
        ),
        pytest.param(  # github.com/tensorflow/tensorflow/issues/43541: a denoiser on an Android GPU
            """\
Use gpu: [1]
INFO: Created TensorFlow Lite delegate for GPU.
INFO: Initialized OpenCL-based API.
INFO: Created 1 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
Initialized session in 870.557ms.
count=4 first=130565 curr=120829 min=117370 max=130565 avg=122373 std=4930

count=50 first=119212 curr=118055 min=113737 max=124776 avg=119375 std=1948

Inference timings in us: Init: 870557, First inference: 130565, Warmup (avg): 122373, Inference (avg): 119375
""",
            {"init_ms": 870.557, "first_ms": 130.565, "min_ms": 113.737, "mean_ms": 119.375, "std_ms": 1.948},
            id="Android GPU, 2020",
        ),
        pytest.param(  # github.com/google/XNNPACK/issues/999: an 8-bit detector on a Raspberry Pi, 4 threads
            """\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
Initialized session in 18.777ms.
count=9 first=64791 curr=56295 min=54873 max=65831 avg=57758.2 std=4065

count=50 first=58154 curr=53809 min=53077 max=60727 avg=55043.2 std=1562

Inference timings in us: Init: 18777, First inference: 64791, Warmup (avg): 57758.2, Inference (avg): 55043.2
Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227
""",
            {
                "init_ms": 18.777,
                "first_ms": 64.791,
                "min_ms": 53.077,
                "peak_rss_mb": 18.7227,
                "std_ms": 1.562,
            },
            id="Raspberry Pi, 2021",
        ),
    ],
)
def test_what_was_recorded_on_devices(lines: str, expected: dict[str, float]) -> None:
    """Transcripts that users of the tool published; the lines with figures."""
    read = read_transcript(lines)
    assert read is not None and read.runs == 50
    assert {name: getattr(read, name) for name in expected} == pytest.approx(expected)
    assert read.median_ms is None and read.p95_ms is None and read.refused == ()
