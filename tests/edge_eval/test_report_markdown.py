"""The table as Markdown: what stands in it, and that names cannot break it."""

from pathlib import Path

from gate_support import judged, timed

from edge_eval.report_data import Report, Step
from edge_eval.report_markdown import report_markdown


def test_the_table_of_files_with_what_failed_and_why() -> None:
    steps = (
        Step(artifact="a_w8.tflite", format="tflite", recipe="w8", status="OK", notes=("a note",)),
        Step(artifact="b|c.mlpackage", format="coreml", recipe="w8", status="FAILED", reason="<b> *luck*"),
    )
    report = Report(
        title="net",
        folder=Path(),
        steps=steps,
        quality=(judged("a_w8.tflite", 29.8),),
        latency=(timed("a_w8.tflite", 12.34),),
        failures=("a_w8.tflite: too bad",),
    )
    assert report_markdown(report) == (
        "### span-edge: net\n\n"
        "- **FAILED** a\\_w8.tflite: too bad\n\n"
        "| artifact | runs on | status | MB | PSNR-Y dB | SSIM-Y | drop dB | drift dB "
        "| worst image | host ms |\n"
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |\n"
        "| a\\_w8.tflite | tflite | OK | 0.10 | 29.80 | 0.9000 | +0.200 | 50.0 | i +0.200 | 12.3 |\n"
        "| b\\|c.mlpackage | – | FAILED | – | – | – | – | – | – | – |\n\n"
        "- FAILED b\\|c.mlpackage: \\<b> \\*luck\\*\n"
        "- a\\_w8.tflite: a note\n"
        "- On photos x2, 1 image; drop: PSNR-Y lost against the float network.\n"
        "- Times are this computer's, not a phone's.\n"
    )


def test_times_alone_have_a_table_of_their_own() -> None:
    report = Report(
        title="",
        folder=Path(),
        latency=(
            timed(
                "a.tflite",
                12.34,
                float_ratio=0.5,
                ms_per_output_mp=321.0,
                quality={"drop_db": 0.125},
                note="hm",
            ),
            timed("b.mlpackage", None),
        ),
    )
    text = report_markdown(report)
    assert text.startswith("### span-edge\n\n| artifact | runtime | input | threads | median ms |")
    assert "| median ms | p90 ms | x float | ms/MP | drop dB | MB | peak MB |\n" in text
    assert "| a.tflite | tflite | 16x12 | 1 | 12.3 | 12.3 | 0.5 | 321 | +0.125 | 0.10 | 100 |" in text
    assert "- a.tflite: hm\n" in text
    assert "- b.mlpackage: SKIPPED: an emulator" in text


def test_a_device_s_times_bear_its_name() -> None:
    report = Report(
        title="",
        folder=Path(),
        latency=(timed("a.tflite", 12.34, runtime="adb-cpu"),),
        environment={"device": {"serial": "S1", "model": "Phone 1"}},
    )
    text = report_markdown(report)
    assert "- Times are the device's (Phone 1 S1), by benchmark\\_model.\n" in text
    assert "this computer" not in text
