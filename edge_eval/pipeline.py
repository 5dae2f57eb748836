"""The main job: one checkpoint to converted files, evaluated, timed and reported."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from models.progress import Progress, renamed, silent

from .gates import Gates
from .output_folder import output_folder
from .report_data import (
    BENCH_FILE,
    EVAL_FILE,
    HTML_FILE,
    PICTURES_FOLDER,
    RUN_FILE,
    Picture,
    Report,
    Step,
    read_report,
)
from .report_html import report_html
from .worst_image import WorstImage

if TYPE_CHECKING:
    from convert.artifact import Artifact, FormatName
    from models.checkpoint import Checkpoint
    from models.deploy import SpanDeploy

    from .datasets import Dataset
    from .evaluate import Evaluation, FloatReference
    from .latency import Latency

EVALUATION_TILE = (512, 512)
"""Tiles for networks that take any size, so that large photographs fit in memory; the result is the same."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `span-edge run` is asked for.

    Attributes:
        checkpoint: where the network came from.
        network: the folded network.
        dataset: images to evaluate on, of the network's scale.
        recipes: rows of `RECIPES`, each made in every format.
        formats: rows of `FORMATS`.
        size: (H, W) in LR pixels that the files are made for.
        threads: CPU threads, None for all.
        runs: timed runs per file; 0 leaves timing out.
        gates: limits that the files have to keep.
        command: the command line that asked for it, for the report.
    """

    checkpoint: "Checkpoint"
    network: "SpanDeploy"
    dataset: "Dataset"
    recipes: tuple[str, ...]
    formats: tuple["FormatName", ...]
    size: tuple[int, int]
    threads: int | None = None
    runs: int = 30
    gates: Gates = field(default_factory=Gates)
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one artifact so far."""

    step: Step
    artifact: "Artifact | None" = None
    evaluation: "Evaluation | None" = None
    picture: Picture | None = None

    def failed(self, reason: str) -> "Outcome":
        """The same, with what was refused."""
        return replace(self, step=replace(self.step, status="FAILED", reason=reason))

    def noted(self, note: str) -> "Outcome":
        """The same, with one more remark."""
        return replace(self, step=replace(self.step, notes=(*self.step.notes, note)))


def run_pipeline(job: Job, *, out: Path, overwrite: bool = False, progress: Progress = silent) -> Report:
    """Convert, evaluate, time and report, into the folder `out`.

    The folder gets the artifacts with their sidecars, `eval.json`, `bench.json`, `run.json`, `report.html`
    and `pictures/`, all at once at the end: if anything fails before, nothing in it changes.

    Args:
        job: what to do.
        out: the folder.
        overwrite: replace files of the same names in `out`; others stay.
        progress: told of every stage.

    Returns:
        The report. What was refused is FAILED in it, with the reason; the rest is done all the same.

    Raises:
        InputError: `out` is taken or cannot be written.
    """
    with output_folder(out, overwrite=overwrite) as folder:
        converted = [
            convert_one(job, format_name, recipe, folder, progress)
            for format_name in job.formats
            for recipe in job.recipes
        ]
        reference = float_reference(job)
        evaluated = [evaluate_one(job, outcome, reference, folder, progress) for outcome in converted]
        outcomes, latencies = time_all(job, evaluated, progress)
        _write_results(folder, job, outcomes, latencies)
        report = read_report(folder)
        (folder / HTML_FILE).write_text(report_html(report), encoding="utf-8")
    return replace(report, folder=out)


def convert_one(
    job: Job, format_name: "FormatName", recipe: str, folder: Path, progress: Progress = silent
) -> Outcome:
    """One file of the job; what its converter refuses is FAILED, what the format does not have is SKIPPED."""
    from convert.artifact import Source
    from convert.formats import FORMATS

    row = FORMATS[format_name]
    path = folder / f"{job.checkpoint.name}_{recipe}{row.suffix}"
    outcome = Outcome(step=Step(artifact=path.name, format=format_name, recipe=recipe, status="OK"))
    if recipe not in row.recipes:
        reason = f"{row.title} has no recipe {recipe}; it has {', '.join(row.recipes)}"
        return replace(outcome, step=replace(outcome.step, status="SKIPPED", reason=reason))
    try:
        artifact = row.load_converter()(
            job.network,
            recipe=recipe,
            source=Source(name=job.checkpoint.name, sha256=job.checkpoint.sha256),
            out=path,
            progress=renamed(progress, f"convert {path.name}"),
            **_size_argument(format_name, job.size),
        )
    except InputError as error:
        return outcome.failed(str(error))
    return replace(outcome, artifact=artifact, step=replace(outcome.step, size_bytes=artifact.size_bytes))


def float_reference(job: Job) -> "FloatReference":
    """The float network's outputs on the job's images, computed when they are first needed."""
    from .evaluate import FloatReference
    from .runtimes.table import open_runner

    runner = open_runner(job.network, runtime="torch", threads=job.threads)
    return FloatReference(runner, job.dataset, radius=job.network.receptive_radius, tile=EVALUATION_TILE)


def evaluate_one(
    job: Job, outcome: Outcome, reference: "FloatReference", folder: Path, progress: Progress = silent
) -> Outcome:
    """The quality of one file, and pictures of the image where it loses most."""
    from .evaluate import Subject, evaluate
    from .runtimes.table import open_runner

    if outcome.artifact is None:
        return outcome
    worst = WorstImage()
    try:
        evaluation = evaluate(
            open_runner(outcome.artifact, threads=job.threads),
            reference,
            Subject.of(outcome.artifact),
            small="mirror",
            tile=EVALUATION_TILE,
            progress=progress,
            look=worst,
        )
    except InputError as error:
        return outcome.failed(str(error).removeprefix(f"{outcome.step.artifact} "))
    picture = worst.save(folder / PICTURES_FOLDER, root=folder, artifact=outcome.step.artifact)
    done = replace(outcome, evaluation=evaluation, picture=picture)
    note = mirrored_note(evaluation)
    return done.noted(note) if note else done


def mirrored_note(evaluation: "Evaluation") -> str:
    """What to know where images are smaller than the only size that a file takes; empty where none is."""
    mirrored = sum(score.mirrored for score in evaluation.per_image)
    if not mirrored:
        return ""
    return (
        f"{mirrored} of {len(evaluation.per_image)} images are smaller than the sizes that the file takes; "
        "they were continued by mirroring, for the float network too, so its PSNR there is another one"
    )


def time_all(
    job: Job, outcomes: list[Outcome], progress: Progress = silent
) -> tuple[list[Outcome], list["Latency"]]:
    """Host latency of the float network and of every file, taking turns; what cannot be timed is noted."""
    from .latency import bench

    made = [outcome.artifact.path for outcome in outcomes if outcome.artifact is not None]
    if not made or not job.runs:
        return [outcome.noted("SKIPPED latency: not asked for") for outcome in outcomes], []
    try:
        latencies = bench(
            [job.checkpoint.path, *made],
            threads=job.threads,
            input_hw=job.size,
            runs=job.runs,
            progress=progress,
        )
    except InputError as error:
        return [
            outcome.failed(f"latency: {error}") if outcome.artifact else outcome for outcome in outcomes
        ], []
    reasons = {latency.artifact: latency.reason for latency in latencies if latency.reason}
    noted = [
        outcome.noted(f"SKIPPED latency: {reasons[outcome.step.artifact]}")
        if outcome.step.artifact in reasons
        else outcome
        for outcome in outcomes
    ]
    return noted, latencies


def checkpoint_facts(checkpoint: "Checkpoint", network: "SpanDeploy") -> dict[str, Any]:
    """What a report says of the checkpoint, JSON-ready."""
    from models.cost import count_macs, count_parameters

    return {
        "name": checkpoint.name,
        "file": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "form": checkpoint.form,
        "notes": list(checkpoint.notes),
        "config": checkpoint.config.to_json(),
        "parameters": count_parameters(network),
        "macs_per_lr_pixel": count_macs(network),
    }


def _size_argument(format_name: "FormatName", size: tuple[int, int]) -> dict[str, Any]:
    """The converter's own way to say the size."""
    from convert.coreml_sizes import Sizes

    arguments: Mapping[FormatName, dict[str, Any]] = {
        "tflite": {"size": size},
        "coreml": {"sizes": Sizes.fixed(*size)},
    }
    return arguments[format_name]


def _write_results(folder: Path, job: Job, outcomes: list[Outcome], latencies: list["Latency"]) -> None:
    """`eval.json`, `bench.json` and `run.json`."""
    from .environment import environment
    from .report_data import results_of

    here = environment()
    evaluations = [outcome.evaluation.to_json() for outcome in outcomes if outcome.evaluation]
    documents = {EVAL_FILE: evaluations, BENCH_FILE: [latency.to_json() for latency in latencies]}
    for name, results in documents.items():
        _write_json(folder / name, {"schema": 1, "environment": here, "results": results})
    quality, _ = results_of({"schema": 1, "results": evaluations})
    refused = [f"{o.step.artifact}: {o.step.reason}" for o in outcomes if o.step.status == "FAILED"]
    record = {
        "schema": 1,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "checkpoint": checkpoint_facts(job.checkpoint, job.network),
        "data": {"name": job.dataset.name, "images": len(job.dataset), "sha256": job.dataset.sha256},
        "size": list(job.size),
        "artifacts": [asdict(outcome.step) for outcome in outcomes],
        "gates": asdict(job.gates),
        "failures": [*refused, *job.gates.failures(quality)],
        "pictures": [asdict(outcome.picture) for outcome in outcomes if outcome.picture],
        "commands": [job.command],
        "environment": here,
    }
    _write_json(folder / RUN_FILE, record)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
