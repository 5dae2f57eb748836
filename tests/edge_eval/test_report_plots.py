"""The plots: which there are, what they say in words; their colours are the page's, their names their own."""

import re
from pathlib import Path

import pytest
from gate_support import judged, timed

from edge_eval.layer_errors import LayerErrors, NodeError
from edge_eval.report_data import Report
from edge_eval.report_html import report_html
from edge_eval.report_plots import COLOURS, Plot, bench_plot, drop_plot, layer_plot, quality_plots

TWO = (judged("a", 29.8), judged("b", 29.9, recipe="w8a8", format="coreml", runtime="mil"))


def rows(*times: float) -> tuple[object, ...]:
    """The rows of two files, with times as far as given."""
    latency = tuple(timed(name, ms) for name, ms in zip("ab", times, strict=False))
    return Report(title="", folder=Path(), quality=TWO, latency=latency).rows()


def errors(recipe: str, *values: float) -> LayerErrors:
    """Errors of the nodes a, b, c."""
    nodes = [
        NodeError(name=name, op="add", relative_error=error)
        for name, error in zip("abc", values, strict=True)
    ]
    return LayerErrors(artifact="q", recipe=recipe, image="i", input_hw=(8, 8), nodes=tuple(nodes))


def test_quality_is_drawn_against_size_and_time_where_several_files_have_them() -> None:
    (time,) = quality_plots(rows(10.0, 20.0))  # type: ignore[arg-type]
    assert time.title == "Quality against latency"
    assert time.words == (
        "median time on this host, ms, PSNR-Y: fp16 TFLite: 10, 29.80 dB; w8a8 Core ML: 20, 29.90 dB"
    )
    assert quality_plots(rows(10.0)) == [] == quality_plots(rows())  # type: ignore[arg-type]


def test_a_benchmark_with_quality_is_drawn_at_its_commonest_setting() -> None:
    quality = {"psnr_y_db": 29.0, "float_psnr_y_db": 30.0}
    timings = (
        timed("a", 10.0, recipe="w8a8", quality=quality),
        timed("b", 20.0, compared="onnxruntime-int8", runtime="onnxruntime", quality=quality),
        timed("a", 99.0, recipe="w8a8", quality=quality, threads=2),
        timed("c", None, quality=quality),
    )
    plot = bench_plot(timings)
    assert plot is not None and plot.title == "Quality against time, 16×12, 1 thread"
    assert "w8a8 tflite: 10" in plot.words and "onnxruntime-int8: 20" in plot.words and "99" not in plot.words
    assert bench_plot(timings[:1]) is None
    assert bench_plot((timed("a", 1.0), timed("b", 2.0))) is None


def test_drops_are_drawn_where_any_is_known() -> None:
    plot = drop_plot(TWO)
    assert plot is not None
    assert plot.words.startswith("fp16 TFLite: mean +0.200 dB, worst +0.200 dB on i; w8a8 Core ML: mean")
    assert drop_plot((judged("a", None),)) is None


def test_errors_by_layer_name_the_largest() -> None:
    plot = layer_plot((errors("w8a8", 0.0, 0.5, 0.1), errors("w8", 0.0, 0.0, 0.0)))
    assert plot is not None
    assert plot.words.startswith("w8a8: largest at b 0.5, c 0.1, a 0; at the end, c, 0.1; w8: largest at")
    assert layer_plot(()) is None


@pytest.fixture
def every_plot() -> list[Plot]:
    """One of each kind."""
    found = [*quality_plots(rows(10.0, 20.0)), drop_plot(TWO), layer_plot((errors("w8a8", 0.1, 0.2, 0.3),))]  # type: ignore[arg-type]
    return [plot for plot in found if plot]


def test_no_colour_of_a_plot_is_its_own(every_plot: list[Plot]) -> None:
    for plot in every_plot:
        own = set(re.findall(r"#[0-9a-f]{6}\b", plot.svg)) - set(re.findall(r'"#([\w-]+)"', plot.svg))
        assert own == set() and not any(stand_in in plot.svg for stand_in in COLOURS)
        assert "var(--soft)" in plot.svg and "<text" in plot.svg


def test_plots_share_no_names_and_are_the_same_when_drawn_again(every_plot: list[Plot]) -> None:
    names = [re.findall(r'\bid="([^"]+)"', plot.svg) for plot in every_plot]
    assert all(len(own) == len(set(own)) for own in names)
    assert not set(names[0]) & set(names[1]) and not set(names[1]) & set(names[2])
    again = drop_plot(TWO)
    assert again is not None and again.svg == every_plot[1].svg


def test_a_benchmark_alone_has_its_ratios_and_no_empty_table_of_files() -> None:
    row = timed("a.tflite", 10.0, float_ratio=0.5, floor_ratio=2.5, fps=100.0, quality={"drop_db": 0.1})
    page = report_html(Report(title="bench", folder=Path(), latency=(row, timed("b", None))))
    assert "× floor" in page and "<td>0.5</td><td>2.5</td><td>100</td><td>+0.100</td>" in page
    assert 'id="files"' not in page and "SKIPPED b: an emulator" in page
    assert "× floor" not in report_html(Report(title="run", folder=Path(), latency=(timed("a", 1.0),)))
