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
        latency=(timed("a.tflite", 12.34, float_ratio=0.5), timed("b.mlpackage", None)),
    )
    text = report_markdown(report)
    assert text.startswith("### span-edge\n\n| artifact | runtime | input | threads | median ms |")
    assert "| a.tflite | tflite | 16x12 | 1 | 12.3 | 12.3 | 0.5 | – | – | 0.10 | 100 |" in text
    assert "- b.mlpackage: SKIPPED: an emulator" in text
