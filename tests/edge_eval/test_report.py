"""Reports: which rows there are, how figures are written, what the page escapes, what its pictures show."""

import io
from dataclasses import replace
from pathlib import Path

import pytest

from edge_eval.gates import Gates
from edge_eval.report import report_tables
from edge_eval.report_data import HostLatency, ImageFigures, Quality, Report, Step, read_report
from edge_eval.report_html import report_html
from edge_eval.report_text import db_text, drift_text, drop_text, figure_text, ms_text
from models import InputError

REASON = "<b>no</b> luck"


def image(name: str, drop_db: float | None, drift_db: float | None = 50.0) -> ImageFigures:
    """One image's figures with a given drop."""
    return ImageFigures(
        name=name,
        psnr_y_db=None if drop_db is None else 30.0 - drop_db,
        ssim_y=0.9,
        float_psnr_y_db=30.0,
        drop_db=drop_db,
        drift_psnr_y_db=drift_db,
        max_abs_8bit=3,
    )


@pytest.fixture
def quality() -> Quality:
    """Two images, means 0.2 dB below the float network."""
    return Quality(
        artifact="a.tflite",
        sha256="0" * 64,
        format="tflite",
        recipe="fp16",
        method=None,
        runtime="tflite",
        dataset="photos",
        scale=2,
        images=2,
        psnr_y_db=29.8,
        ssim_y=0.9,
        float_psnr_y_db=30.0,
        drop_db=0.2,
        drift_psnr_y_db=50.0,
        max_abs_8bit=3,
        per_image=(image("good", 0.1), image("bad", 0.3)),
    )


@pytest.fixture
def latency() -> HostLatency:
    """A time of `a.tflite`."""
    return HostLatency(
        artifact="a.tflite",
        runtime="tflite",
        threads=1,
        input_hw=(16, 12),
        warmup=1,
        runs=2,
        init_ms=1.0,
        median_ms=12.34,
        p90_ms=13.0,
        min_ms=12.0,
        mean_ms=12.5,
        std_ms=0.5,
        peak_rss_mb=100.0,
        size_bytes=123456,
        ops={"CONV_2D": 3},
    )


@pytest.fixture
def report(quality: Quality, latency: HostLatency, tmp_path: Path) -> Report:
    """One artifact that went well and one that did not."""
    steps = (
        Step(artifact="a.tflite", format="tflite", recipe="fp16", status="OK", size_bytes=123456),
        Step(artifact="b.mlpackage", format="coreml", recipe="fp16", status="FAILED", reason=REASON),
    )
    return Report(title="net", folder=tmp_path, steps=steps, quality=(quality,), latency=(latency,))


def test_every_step_has_a_row_with_what_is_known_of_it(
    report: Report, quality: Quality, latency: HostLatency
) -> None:
    made, failed = report.rows()
    assert (made.quality, made.latency) == (quality, latency)
    assert (failed.step.status, failed.quality, failed.latency) == ("FAILED", None, None)


def test_what_no_step_names_has_a_row_too(quality: Quality, latency: HostLatency, tmp_path: Path) -> None:
    other = replace(latency, artifact="c.tflite")
    rows = Report(title="", folder=tmp_path, quality=(quality,), latency=(other,)).rows()
    assert [row.step.artifact for row in rows] == ["a.tflite", "c.tflite"]


def test_two_runtimes_of_one_artifact_are_two_rows_with_their_own_times(
    quality: Quality, latency: HostLatency, tmp_path: Path
) -> None:
    plain = replace(quality, runtime="tflite-plain")
    slow = replace(latency, runtime="tflite-plain", median_ms=99.0)
    rows = Report(title="", folder=tmp_path, quality=(quality, plain), latency=(latency, slow)).rows()
    assert [row.latency.median_ms for row in rows if row.latency] == [12.34, 99.0]


def test_the_float_network_has_a_row_of_its_own(report: Report, latency: HostLatency) -> None:
    timed = replace(latency, artifact="net.pth", size_bytes=7)
    known = replace(report, checkpoint={"file": "net.pth", "name": "net"}, latency=(*report.latency, timed))
    first, *rest = known.rows()
    assert (first.step.status, first.float_psnr_y_db, first.latency) == ("REFERENCE", 30.0, timed)
    assert "net.pth" not in [row.step.artifact for row in rest]


def test_the_worst_image_is_the_one_with_the_largest_drop_or_else_the_most_drift(quality: Quality) -> None:
    assert quality.worst.name == "bad"
    without_truth = (image("same", None, None), image("close", None, 60.0), image("far", None, 40.0))
    assert [i.name for i in replace(quality, per_image=without_truth).worst_first] == ["far", "close", "same"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (db_text(32.199), "32.20"),
        (db_text(None), "–"),
        (drop_text(0.0004), "0.000"),
        (drop_text(-0.0004), "0.000"),
        (drop_text(0.0806), "+0.081"),
        (drop_text(-0.0806), "−0.081"),
        (drift_text(None), "identical"),
        (drift_text(65.46), "65.5"),
        (ms_text(122.34), "122"),
        (ms_text(18.24), "18.2"),
        (ms_text(0.2691), "0.269"),
        (figure_text(2583.9), "2584"),
        (figure_text(None), "–"),
    ],
)
def test_figures_are_written_with_the_digits_they_deserve(text: str, written: str) -> None:
    assert text == written


def test_the_page_escapes_what_files_say(report: Report) -> None:
    page = report_html(replace(report, title="<script>x</script>"))
    assert "<script>x" not in page and "&lt;script&gt;" in page
    assert "<b>no" not in page and "&lt;b&gt;no&lt;/b&gt; luck" in page


def test_the_page_says_what_failed(report: Report) -> None:
    assert "a.tflite: too bad" in report_html(replace(report, failures=("a.tflite: too bad",)))
    assert 'role="alert"' not in report_html(report)


def test_the_page_says_whose_times_they_are_and_shows_no_empty_columns(
    latency: HostLatency, tmp_path: Path
) -> None:
    host = report_html(Report(title="t", folder=tmp_path, latency=(latency,)))
    assert "Latency on this host" in host and "Fastest on this host" in host
    for absent in ("× float", "× floor", "frames/s", "Drop", "matrix"):
        assert absent not in host, absent
    on_device = replace(latency, runtime="adb-cpu", float_ratio=0.5, p90_ms=None, note="<i>of 44</i>")
    device = {"device": {"serial": "S1", "model": "Phone <1>"}}
    page = report_html(Report(title="t", folder=tmp_path, latency=(on_device,), environment=device))
    assert "Latency on Phone &lt;1&gt; S1" in page and "Fastest on Phone &lt;1&gt; S1" in page
    assert "this host" not in page and "this computer" not in page and "p90 ms" not in page
    assert "× float: the median over" in page and "× floor" not in page
    assert "&lt;i&gt;of 44" in page


def test_a_page_without_pictures_has_no_script_and_one_without_figures_no_plot(
    report: Report, tmp_path: Path
) -> None:
    assert "<script" not in report_html(report)
    assert "<svg" not in report_html(Report(title="empty", folder=tmp_path))


def test_remarks_that_several_files_share_are_said_once(report: Report) -> None:
    steps = tuple(replace(step, notes=("the same",)) for step in report.steps)
    page = report_html(replace(report, steps=steps))
    assert page.count("the same") == 1
    assert "a.tflite, b.mlpackage</b>: the same" in page


def test_terminal_tables_show_every_artifact_and_every_reason(report: Report) -> None:
    from rich.console import Console

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(*report_tables(report), sep="\n")
    text = console.export_text()
    assert "a.tflite" in text and "+0.200" in text and "bad +0.300" in text
    assert "FAILED b.mlpackage: <b>no</b> luck" in text


@pytest.mark.parametrize(
    ("gates", "failures"),
    [
        (Gates(), []),
        (Gates(max_drop_db=0.2, min_psnr_db=29.8), []),
        (Gates(max_drop_db=0.1999), ["drops 0.2000 dB, more than --max-drop 0.1999"]),
        (Gates(min_psnr_db=29.9), ["PSNR-Y 29.8000 dB, less than --min-psnr 29.9"]),
        (Gates(max_drop_db=0.1999999), ["drops 0.2000 dB, more than --max-drop 0.1999999"]),
        (Gates(min_psnr_db=29.80000001), ["PSNR-Y 29.8000 dB, less than --min-psnr 29.80000001"]),
    ],
)
def test_gates_fail_what_is_beyond_the_limit(quality: Quality, gates: Gates, failures: list[str]) -> None:
    assert [line.split(": ", 1)[1] for line in gates.failures([quality])] == failures


@pytest.mark.parametrize(
    ("drop_db", "limit_db", "said"),
    [
        (0.00004, 0.0, "drops 0.00004 dB, more than --max-drop 0"),
        (0.1000001, 0.1, "drops 0.1000001 dB, more than --max-drop 0.1"),
        (1e-20, 0.0, "drops 1e-20 dB, more than --max-drop 0"),
    ],
)
def test_a_drop_has_the_digits_that_show_it_beyond_the_limit(
    quality: Quality, drop_db: float, limit_db: float, said: str
) -> None:
    (line,) = Gates(max_drop_db=limit_db).failures([replace(quality, drop_db=drop_db)])
    assert line.endswith(said)


@pytest.mark.parametrize("field", ["drop_db", "psnr_y_db"])
def test_gates_fail_what_cannot_be_checked(quality: Quality, field: str) -> None:
    unknown = replace(quality, **{field: None})
    assert "no limit can be checked" in Gates(max_drop_db=1.0).failures([unknown])[0]
    assert Gates().failures([unknown]) == ()
    not_a_number = replace(quality, **{field: float("nan")})
    assert Gates(max_drop_db=99.0, min_psnr_db=0.0).failures([not_a_number])


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no run.json; give a folder that span-edge run wrote"):
        read_report(tmp_path)
