"""`span-edge eval`: what files cost in picture quality."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .gating import gate_help, gate_options, gates_of
from .options import (
    CHECKPOINT,
    PATH,
    json_option,
    markdown_option,
    network_options,
    overwrite_option,
    runtime_option,
    threads_option,
)
from .outcome import GateError
from .terminal import Terminal, progress_bars, refuse_taken_targets, terminal

if TYPE_CHECKING:
    from models.progress import Progress

    from ..arm.compare import CoreComparison
    from ..datasets import Dataset
    from ..evaluate import Evaluation
    from ..gates import Gates
    from .sources import Loaded

EPILOG = f"""\b
Examples:
  span-edge eval out/*.tflite out/*.mlpackage --reference spanx4_ch48.pth --data Set5
  span-edge eval span.tflite --runtime tflite-reference --data Set5 --json eval.json --max-drop 0.1

PSNR and SSIM on Y, after rounding to 8 bits, the border cut; low resolution by MATLAB-style bicubic unless
--lr gives it. Drop: the float PyTorch network's PSNR minus the file's, on the same pixels.

{gate_help("quality")}"""


@click.command("eval", epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, type=CHECKPOINT, metavar="ARTIFACT...")
@click.option(
    "--reference",
    type=CHECKPOINT,
    metavar="CHECKPOINT",
    help="Float network.  [default: the one the files name]",
)
@click.option("--data", type=PATH, metavar="DIR", help="Images.  [default: scikit-image's photographs]")
@click.option(
    "--lr", type=PATH, metavar="DIR", help="Their low resolution, where it is not to be made by bicubic."
)
@runtime_option
@threads_option
@json_option
@markdown_option
@gate_options("quality")
@network_options
@overwrite_option
def evaluate(
    *,
    models: tuple[Path, ...],
    reference: Path | None,
    data: Path | None,
    lr: Path | None,
    runtime: str | None,
    threads: int | None,
    json_target: str | None,
    markdown_target: str | None,
    max_drop: float | None,
    min_psnr: float | None,
    baseline: Path | None,
    tolerance: str | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> None:
    """Measure what converted files (or checkpoints) lose against the float network."""
    with terminal() as screen:
        refuse_taken_targets(json_target, markdown_target, overwrite=overwrite)
        from ..datasets import open_dataset
        from .sources import channels_of, find_reference, load_network

        gates = gates_of(
            ("quality",), max_drop=max_drop, min_psnr=min_psnr, baseline=baseline, tolerance=tolerance
        )
        named = find_reference(models, reference)
        loaded = load_network(named, img_range=img_range, rgb_mean=rgb_mean)
        config = loaded.checkpoint.config
        dataset = open_dataset(data, scale=config.upscale, lr=lr, channels=channels_of(config))
        with progress_bars(screen) as bars:
            evaluations = evaluate_models(
                models, loaded, dataset, runtime=runtime, threads=threads, progress=bars
            )
            cores = beside_this_computer(models, dataset, runtime=runtime, progress=bars)
        targets = {"json_target": json_target, "markdown_target": markdown_target, "overwrite": overwrite}
        failures = show_evaluations(screen, evaluations, gates, cores, **targets)  # type: ignore[arg-type]
    if failures:
        raise GateError(failures)


def evaluate_models(
    models: Sequence[Path],
    reference: "Loaded",
    dataset: "Dataset",
    *,
    runtime: str | None,
    threads: int | None,
    progress: "Progress",
) -> list["Evaluation"]:
    """The quality of each file; the float network runs once per image.

    Raises:
        InputError: a file cannot be used, or not on that runtime.
    """
    from ..evaluate import FloatReference, Subject
    from ..evaluate import evaluate as evaluate_one
    from ..pipeline import EVALUATION_TILE
    from ..runtimes.table import open_runner
    from .sources import open_models

    opened = open_models(models, reference)
    floats = FloatReference(
        open_runner(reference.network, runtime="torch", threads=threads),
        dataset,
        radius=reference.network.receptive_radius,
        tile=EVALUATION_TILE,
    )
    return [
        evaluate_one(
            open_runner(model.runnable, runtime=runtime, threads=threads),
            floats,
            Subject.of(model.described),
            small="mirror",
            tile=EVALUATION_TILE,
            progress=progress,
        )
        for model in opened
    ]


def beside_this_computer(
    models: Sequence[Path], dataset: "Dataset", *, runtime: str | None, progress: "Progress"
) -> list["CoreComparison"]:
    """Where files run on an emulated core: whether it gives the bytes of this computer's, and why not.

    The first image's corner of the file's own size is what is compared.
    """
    import numpy as np

    from ..arm.compare import HOST, compare_cores
    from ..latency import native_hw
    from ..runner import to_image
    from ..runtimes.table import RUNTIMES
    from ..tiling import fill_up

    if runtime is None or not (RUNTIMES[runtime].kind == "tflite" and RUNTIMES[runtime].is_emulator):
        return []
    first = to_image(next(iter(dataset)).lr)
    comparisons = []
    for model in models:
        height, width = native_hw(model, HOST)
        corner = np.ascontiguousarray(fill_up(first, (height, width))[:height, :width])
        comparisons += compare_cores(model, corner, runtimes=[runtime], progress=progress)
    return comparisons


def show_evaluations(
    screen: Terminal,
    evaluations: Sequence["Evaluation"],
    gates: "Gates",
    cores: Sequence["CoreComparison"] = (),
    *,
    json_target: str | None,
    markdown_target: str | None,
    overwrite: bool,
) -> tuple[str, ...]:
    """Tables on the terminal, or the documents; what the gates fail."""
    from ..environment import environment
    from ..pipeline import mirrored_note
    from ..report import quality_tables, report_tables
    from ..report_data import Report, results_of
    from ..report_markdown import report_markdown

    results = [evaluation.to_json() for evaluation in evaluations]
    document = {"schema": 1, "environment": environment(), "results": results}
    if cores:
        document["cores"] = [vars(comparison) for comparison in cores]
    for comparison in cores:
        screen.say(
            f"{comparison.artifact}: {comparison.runtime} beside this computer's XNNPACK: {comparison.why}"
        )
    qualities, _ = results_of(document)
    for evaluation in evaluations:
        if note := mirrored_note(evaluation):
            screen.say(f"note: {evaluation.subject.artifact}: {note}")
    if json_target is not None:
        screen.emit_json(document, json_target, overwrite=overwrite)
    failures = gates.failures(qualities)
    report = Report(title="", folder=Path(), quality=qualities, failures=failures)
    if markdown_target is not None:
        screen.emit_text(report_markdown(report), markdown_target, overwrite=overwrite)
    if "-" not in (json_target, markdown_target):
        for quality in qualities:
            screen.out.print(*quality_tables(quality), sep="\n")
        screen.out.print(*report_tables(report), sep="\n")
    return failures
