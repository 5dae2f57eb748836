"""The main job: one checkpoint to quantized and converted files, evaluated, timed and reported."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convert.artifact import Source
from models.errors import InputError
from models.files import came_of_full_disk
from models.progress import Progress, renamed, silent
from quantize.recipe import recipe_named

from .agreement import Agreement
from .gallery import Gallery
from .gates import Gates
from .layer_errors import LayerErrors, layer_errors
from .output_folder import output_folder
from .planned_rows import planned_rows
from .quantization import Quantization, quantize_network
from .quantized_file import QuantizedCheckpoint, load_quantized_checkpoint
from .report_data import HTML_FILE, PICTURES_FOLDER, Report, Step, read_report
from .report_html import report_html
from .run_record import write_results

if TYPE_CHECKING:
    from convert.artifact import Artifact, FormatName
    from models.checkpoint import Checkpoint
    from models.deploy import SpanDeploy
    from quantize.quantized import QuantizedSpan

    from .datasets import Dataset, Sample
    from .evaluate import Evaluation, FloatReference
    from .latency import Latency
    from .runner import FloatImage

    Look = Callable[[Sample, FloatImage, FloatImage], None]

EVALUATION_TILE = (512, 512)
"""Tiles for networks that take any size, so that large photographs fit in memory; the result is the same."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `span-edge run` is asked for.

    Attributes:
        checkpoint: where the network came from.
        network: the folded network.
        dataset: images to evaluate on, of the network's scale.
        recipes: rows of `RECIPES`, each made in every format that has it.
        formats: rows of `FORMATS`.
        size: (H, W) in LR pixels that the files are made for.
        quantization: how, where a recipe needs it.
        quantized: a quantized checkpoint of the network, which then need not be made.
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
    quantization: Quantization | None = None
    quantized: QuantizedCheckpoint | None = None
    threads: int | None = None
    runs: int = 30
    gates: Gates = field(default_factory=Gates)
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one artifact, or of one quantized checkpoint, so far."""

    step: Step
    artifact: "Artifact | None" = None
    quantized: QuantizedCheckpoint | None = None
    evaluation: "Evaluation | None" = None

    def failed(self, reason: str) -> "Outcome":
        """The same, with what was refused."""
        return replace(self, step=replace(self.step, status="FAILED", reason=reason))

    def noted(self, note: str) -> "Outcome":
        """The same, with one more remark."""
        return replace(self, step=replace(self.step, notes=(*self.step.notes, note)))


def run_pipeline(job: Job, *, out: Path, overwrite: bool = False, progress: Progress = silent) -> Report:
    """Quantize, convert, evaluate, time and report, into the folder `out`.

    The folder gets the quantized checkpoints, the artifacts with their sidecars, `eval.json`, `bench.json`,
    `run.json`, `report.html` and `pictures/`, all at once at the end: if anything fails before, nothing in it
    changes.

    Args:
        job: what to do.
        out: the folder.
        overwrite: replace files of the same names in `out`; others stay.
        progress: told of every stage.

    Returns:
        The report. What was refused is FAILED in it, with the reason; the rest is done all the same.

    Raises:
        InputError: `out` is taken or cannot be written, or an image cannot be used.
    """
    with output_folder(out, overwrite=overwrite) as folder, tempfile.TemporaryDirectory() as scratch:
        job.gates.refuse_unusable(planned_rows(job))
        job.dataset.require_usable(progress)
        quantized = {
            recipe: quantize_one(job, recipe, folder, progress)
            for recipe in job.recipes
            if recipe_named(recipe).calibrated and _is_made(job, recipe)
        }
        converted = [
            convert_one(job, format_name, recipe, folder, quantized=quantized.get(recipe), progress=progress)
            for format_name in job.formats
            for recipe in job.recipes
        ]
        reference, kept = float_reference(job), Kept.of(job, Path(scratch))
        evaluated = [
            evaluate_one(job, outcome, reference, kept, progress=progress)
            for outcome in (*quantized.values(), *converted)
        ]
        files = [outcome.step.artifact for outcome in evaluated if outcome.artifact]
        scenes = kept.gallery.save(folder / PICTURES_FOLDER, root=folder, artifacts=files)
        outcomes, latencies = time_all(job, evaluated, progress)
        details = {
            "agreement": [agreed.to_json() for agreed in kept.agreement.results()],
            "pictures": [asdict(scene) for scene in scenes],
            "layer_errors": [found.to_json() for found in errors_by_layer(job, evaluated, progress)],
        }
        write_results(folder, job, outcomes, latencies, details)
        report = read_report(folder)
        (folder / HTML_FILE).write_text(report_html(report), encoding="utf-8")
    return replace(report, folder=out)


def _is_made(job: Job, recipe: str) -> bool:
    """Whether any of the job's formats has the recipe."""
    return any(format_name in recipe_named(recipe).formats for format_name in job.formats)


def quantize_one(job: Job, recipe: str, folder: Path, progress: Progress = silent) -> Outcome:
    """The quantized checkpoint that every format of the recipe is made from; what is refused is FAILED."""
    path = folder / f"{job.checkpoint.name}_{recipe}.safetensors"
    step = Step(artifact=path.name, format="checkpoint", recipe=recipe, status="OK")
    source = Source(name=job.checkpoint.name, sha256=job.checkpoint.sha256)
    start = time.monotonic()
    try:
        if job.quantized is not None:
            quantized, how = job.quantized.quantized, "as given"
        else:
            assert job.quantization is not None, "recipes that need it come with it"
            quantized = quantize_network(
                job.network, source, job.quantization, recipe=recipe, progress=named_after(progress, recipe)
            )
            how = f"{time.monotonic() - start:.0f} s"
        quantized.save(path)
    except InputError as error:
        raise_if_disk_is_full(error)
        return Outcome(step=step).failed(str(error))
    step = replace(step, method=quantized.method, size_bytes=path.stat().st_size)
    made = Outcome(step=step, quantized=load_quantized_checkpoint(path))
    return made.noted(f"quantized: {provenance_text(quantized)}, {how}")


def named_after(progress: Progress, recipe: str) -> Progress:
    """`progress`, told of every stage with the recipe before its name."""
    return lambda stage, done, total, detail="": progress(f"{recipe}: {stage}", done, total, detail)


def provenance_text(quantized: "QuantizedSpan") -> str:
    """How a quantized network was made, on one line."""
    made = quantized.provenance
    return (
        f"{quantized.method}, {made.search}, "
        f"{made.images} calibration images (sha256 {made.images_sha256[:12]}...)"
    )


def convert_one(
    job: Job,
    format_name: "FormatName",
    recipe: str,
    folder: Path,
    *,
    quantized: Outcome | None = None,
    progress: Progress = silent,
) -> Outcome:
    """One file of the job; what its converter refuses is FAILED, what the format does not have is SKIPPED."""
    from convert.formats import FORMATS

    row = FORMATS[format_name]
    path = folder / f"{job.checkpoint.name}_{recipe}{row.suffix}"
    method = quantized.step.method if quantized else None
    outcome = Outcome(
        step=Step(artifact=path.name, format=format_name, recipe=recipe, method=method, status="OK")
    )
    if recipe not in row.recipes:
        reason = f"{row.title} has no recipe {recipe}; it has {', '.join(row.recipes)}"
        return replace(outcome, step=replace(outcome.step, status="SKIPPED", reason=reason))
    if quantized is not None and quantized.quantized is None:
        return outcome.failed(f"not quantized: {quantized.step.reason}")
    made_from = quantized.quantized if quantized else None
    try:
        artifact = row.load_converter()(
            made_from.quantized if made_from else job.network,
            recipe=recipe,
            source=Source(
                name=job.checkpoint.name,
                sha256=job.checkpoint.sha256,
                method=made_from.quantized.method if made_from else None,
            ),
            out=path,
            progress=renamed(progress, f"convert {path.name}"),
            **_size_argument(format_name, job.size),
        )
    except InputError as error:
        raise_if_disk_is_full(error)
        return outcome.failed(str(error))
    return replace(outcome, artifact=artifact, step=replace(outcome.step, size_bytes=artifact.size_bytes))


def raise_if_disk_is_full(error: InputError) -> None:
    """Let a full disk end the run, whatever file it was found out by: the report would not fit either.

    Raises:
        InputError: the error itself.
    """
    if came_of_full_disk(error):
        raise error


def float_reference(job: Job) -> "FloatReference":
    """The float network's outputs on the job's images, computed when they are first needed."""
    from .evaluate import FloatReference
    from .runtimes.table import open_runner

    runner = open_runner(job.network, runtime="torch", threads=job.threads)
    return FloatReference(runner, job.dataset, radius=job.network.receptive_radius, tile=EVALUATION_TILE)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept of every evaluation, beside its figures."""

    agreement: Agreement
    gallery: Gallery

    @classmethod
    def of(cls, job: Job, scratch: Path) -> "Kept":
        """Nothing yet; outputs will stand in `scratch`."""
        files = len(job.recipes) * len(job.formats)
        gallery = Gallery(scratch, artifacts=files, images=len(job.dataset))
        return cls(agreement=Agreement(scratch), gallery=gallery)


def errors_by_layer(job: Job, outcomes: list[Outcome], progress: Progress = silent) -> list[LayerErrors]:
    """Where every quantized network's error comes from, on a part of the first image."""
    networks = [outcome for outcome in outcomes if outcome.quantized is not None]
    sample = job.dataset.sample(0) if networks else None
    found = []
    for done, outcome in enumerate(networks, start=1):
        assert outcome.quantized is not None and sample is not None
        name = outcome.step.artifact
        errors = layer_errors(
            job.network, outcome.quantized.quantized, sample.lr, artifact=name, image=sample.name
        )
        found.append(errors)
        progress("error by layer", done, len(networks), name)
    return found


def evaluate_one(
    job: Job,
    outcome: Outcome,
    reference: "FloatReference",
    kept: Kept,
    *,
    progress: Progress = silent,
) -> Outcome:
    """The quality of one file; what it makes of the images is kept. A quantized checkpoint is simulated."""
    from .evaluate import Subject, evaluate
    from .runtimes.table import open_runner

    model = outcome.artifact or outcome.quantized
    if model is None:
        return outcome
    step = outcome.step
    compared = outcome.artifact is not None and recipe_named(step.recipe).calibrated
    looks: list[Look] = [kept.gallery.collector(step.artifact)]
    if compared:
        looks.append(kept.agreement.collector(step.recipe, step.artifact))
    try:
        evaluation = evaluate(
            open_runner(model, threads=job.threads),
            reference,
            Subject.of(model),
            small="mirror",
            tile=EVALUATION_TILE,
            progress=progress,
            look=each_of(looks),
        )
    except InputError as error:
        kept.agreement.forget(step.recipe, step.artifact)
        kept.gallery.forget(step.artifact)
        return outcome.failed(str(error).removeprefix(f"{step.artifact} "))
    mirrored = [index for index, score in enumerate(evaluation.per_image) if score.mirrored]
    kept.gallery.leave_out(step.artifact, mirrored)
    if compared:
        kept.agreement.leave_out(step.recipe, step.artifact, mirrored)
    done = replace(outcome, evaluation=evaluation)
    note = mirrored_note(evaluation)
    return done.noted(note) if note else done


def each_of(looks: "list[Look]") -> "Look":
    """One `look` for `evaluate` that is all of these."""

    def look(sample: "Sample", expected: "FloatImage", output: "FloatImage") -> None:
        for one in looks:
            one(sample, expected, output)

    return look


def mirrored_note(evaluation: "Evaluation") -> str:
    """What to know where images are smaller than the only size that a file takes; empty where none is."""
    mirrored = sum(score.mirrored for score in evaluation.per_image)
    whole = sum(score.whole for score in evaluation.per_image)
    if not mirrored + whole:
        return ""
    what = (
        "they were continued by mirroring, for the float network too, so its PSNR there is another one"
        if mirrored
        else "the emulator ran its operations on them as they are, which a device would not"
    )
    return (
        f"{mirrored + whole} of {len(evaluation.per_image)} images are smaller than the sizes that the file "
        f"takes; {what}"
    )


def time_all(
    job: Job, outcomes: list[Outcome], progress: Progress = silent
) -> tuple[list[Outcome], list["Latency"]]:
    """Host latency of the float network and of every file, taking turns; what cannot be timed is noted."""
    from .latency import bench

    made = [outcome.artifact.path for outcome in outcomes if outcome.artifact is not None]
    if not made:
        return outcomes, []
    if not job.runs:
        note = "SKIPPED latency: not asked for"
        return [outcome.noted(note) if outcome.artifact else outcome for outcome in outcomes], []
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


def _size_argument(format_name: "FormatName", size: tuple[int, int]) -> dict[str, Any]:
    """The converter's own way to say the size."""
    from convert.coreml_sizes import Sizes

    arguments: Mapping[FormatName, dict[str, Any]] = {
        "tflite": {"size": size},
        "coreml": {"sizes": Sizes.fixed(*size)},
    }
    return arguments[format_name]
