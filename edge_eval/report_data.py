"""What a report is made of, read back from the JSON documents that `run`, `eval` and `bench` write."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from models.errors import InputError

from .layer_errors import LayerErrors, NodeError
from .report_pictures import Scene

Status = Literal["OK", "FAILED", "SKIPPED", "REFERENCE"]

RUN_FILE = "run.json"
EVAL_FILE = "eval.json"
BENCH_FILE = "bench.json"
HTML_FILE = "report.html"
PICTURES_FOLDER = "pictures"

Record = TypeVar("Record")


@dataclass(frozen=True, kw_only=True)
class ImageFigures:
    """One image's figures, as `eval --json` has them: None without a truth, or where frames are identical."""

    name: str
    psnr_y_db: float | None
    ssim_y: float | None
    float_psnr_y_db: float | None
    drop_db: float | None
    drift_psnr_y_db: float | None
    max_abs_8bit: int


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One artifact on one runtime over one data set: means, and every image."""

    artifact: str
    sha256: str
    format: str
    recipe: str
    method: str | None
    runtime: str
    dataset: str
    scale: int
    images: int
    psnr_y_db: float | None
    ssim_y: float | None
    float_psnr_y_db: float | None
    drop_db: float | None
    drift_psnr_y_db: float | None
    max_abs_8bit: int
    per_image: tuple[ImageFigures, ...]

    @property
    def worst(self) -> ImageFigures:
        """The image that loses most against the float network, or drifts most where no drop is known."""
        return self.worst_first[0]

    @property
    def worst_first(self) -> list[ImageFigures]:
        """Every image, that which loses most first."""

        def badness(image: ImageFigures) -> tuple[float, float]:
            drop = -math.inf if image.drop_db is None else image.drop_db
            return drop, -math.inf if image.drift_psnr_y_db is None else -image.drift_psnr_y_db

        return sorted(self.per_image, key=badness, reverse=True)


@dataclass(frozen=True, kw_only=True)
class HostLatency:
    """One artifact's time on the host that measured it; None where `reason` says why."""

    artifact: str
    runtime: str
    threads: int
    input_hw: tuple[int, int]
    warmup: int
    runs: int
    init_ms: float | None
    median_ms: float | None
    p90_ms: float | None
    min_ms: float | None
    mean_ms: float | None
    std_ms: float | None
    peak_rss_mb: float | None
    size_bytes: int
    ops: Mapping[str, int]
    reason: str | None = None
    recipe: str | None = None
    compared: str | None = None
    fps: float | None = None
    ms_per_output_mp: float | None = None
    float_ratio: float | None = None
    floor_ratio: float | None = None
    quality: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of one artifact that a run was asked for."""

    artifact: str
    format: str
    recipe: str
    method: str | None = None
    status: Status
    reason: str = ""
    size_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AgreementFigures:
    """How far two files of one quantized network give the same 8-bit pixels; None where all images do."""

    first: str
    second: str
    recipe: str
    images: int
    identical: int
    psnr_db: float | None
    least_psnr_db: float | None
    max_abs_8bit: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report: an artifact with all that is known of it.

    The float network before conversion has a row of its own, with nothing but `float_psnr_y_db` for quality.
    """

    step: Step
    quality: Quality | None = None
    latency: HostLatency | None = None
    float_psnr_y_db: float | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything a report shows. `folder` is where picture files are found."""

    title: str
    folder: Path
    created: str = ""
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    quality: tuple[Quality, ...] = ()
    latency: tuple[HostLatency, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Scene, ...] = ()
    layer_errors: tuple[LayerErrors, ...] = ()
    calibration: Mapping[str, Any] | None = None
    agreement: tuple[AgreementFigures, ...] = ()
    commands: tuple[str, ...] = ()
    gates: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    def rows(self) -> tuple[Row, ...]:
        """The float network, one row per step, and one per evaluated or timed artifact that no step names."""
        reference = self._reference()
        steps = {row.step.artifact: row.step for row in reference}
        steps |= {step.artifact: step for step in self.steps}
        for quality in self.quality:
            steps.setdefault(quality.artifact, _step_of_quality(quality))
        for latency in self.latency:
            steps.setdefault(latency.artifact, _step_of_latency(latency))
        rest = (step for step in steps.values() if step.status != "REFERENCE")
        return (*reference, *(row for step in rest for row in self._rows_of(step)))

    def _reference(self) -> tuple[Row, ...]:
        """The row of the float network, where the checkpoint is known."""
        if not self.checkpoint:
            return ()
        name = self.checkpoint["file"]
        latency = next((timed for timed in self.latency if timed.artifact == name), None)
        step = Step(
            artifact=name,
            format="checkpoint",
            recipe="fp32",
            status="REFERENCE",
            size_bytes=latency.size_bytes if latency else None,
        )
        psnr = self.quality[0].float_psnr_y_db if self.quality else None
        return (Row(step=step, latency=latency, float_psnr_y_db=psnr),)

    def _rows_of(self, step: Step) -> list[Row]:
        """One row per runtime that evaluated the artifact, with the time on that runtime, or else on any."""
        timed = [found for found in self.latency if found.artifact == step.artifact]
        qualities = [found for found in self.quality if found.artifact == step.artifact]
        if not qualities:
            return [Row(step=step, latency=found) for found in timed] or [Row(step=step)]
        return [
            Row(step=step, quality=quality, latency=_timed_on(quality.runtime, timed))
            for quality in qualities
        ]


def read_report(source: Path) -> Report:
    """The report in a folder that `span-edge run` wrote, or in one JSON document of `eval` or `bench`.

    Raises:
        InputError: there is nothing to report on, or it is not ours.
    """
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise InputError(
            f"no {source}; give a folder that span-edge run wrote, or a JSON file of eval or bench"
        )
    document = _read_json(source)
    quality, latency = _results(document, source)
    return Report(
        title=source.stem,
        folder=source.parent,
        quality=quality,
        latency=latency,
        environment=document.get("environment", {}),
    )


def _read_folder(folder: Path) -> Report:
    if not (folder / RUN_FILE).is_file():
        raise InputError(
            f"{folder} has no {RUN_FILE}; give a folder that span-edge run wrote, or one JSON file"
        )
    record = _read_json(folder / RUN_FILE)
    quality: tuple[Quality, ...] = ()
    latency: tuple[HostLatency, ...] = ()
    for name in (EVAL_FILE, BENCH_FILE):
        if (folder / name).is_file():
            found_quality, found_latency = _results(_read_json(folder / name), folder / name)
            quality += found_quality
            latency += found_latency
    try:
        return report_of_run(record, folder=folder, quality=quality, latency=latency)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / RUN_FILE} is not what span-edge run writes: {error!r}") from error


def report_of_run(
    record: Mapping[str, Any], *, folder: Path, quality: tuple[Quality, ...], latency: tuple[HostLatency, ...]
) -> Report:
    """The report of one run: its record (`run.json`) and its results.

    Raises:
        KeyError, TypeError, ValueError: the record is not of this schema.
    """
    return Report(
        title=record["checkpoint"]["name"],
        folder=folder,
        created=record["created"],
        checkpoint=record["checkpoint"],
        steps=tuple(record_of(Step, step) for step in record["artifacts"]),
        quality=quality,
        latency=latency,
        environment=record["environment"],
        pictures=tuple(record_of(Scene, scene) for scene in record["pictures"]),
        layer_errors=tuple(record_of(LayerErrors, errors) for errors in record.get("layer_errors", [])),
        calibration=record.get("calibration"),
        agreement=tuple(record_of(AgreementFigures, agreed) for agreed in record.get("agreement", [])),
        commands=tuple(record["commands"]),
        gates=record["gates"],
        failures=tuple(record["failures"]),
    )


NESTED: Mapping[str, type] = {"per_image": ImageFigures, "nodes": NodeError}
"""Keys that hold lists of records, and of what kind."""


def record_of(kind: type[Record], data: Mapping[str, Any]) -> Record:
    """`kind` (one of the dataclasses above) from JSON data; lists become tuples, unknown keys are left out.

    Raises:
        TypeError: a key is missing.
    """
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
    }
    for key, inner in NESTED.items():
        if key in values:
            values[key] = tuple(record_of(inner, entry) for entry in data[key])
    return kind(**values)


def results_of(document: Mapping[str, Any]) -> tuple[tuple[Quality, ...], tuple[HostLatency, ...]]:
    """The results of an `eval` or `bench` document, whichever it is.

    Raises:
        KeyError, TypeError, ValueError: it is neither.
    """
    if document["schema"] != 1:
        raise ValueError(f"schema {document['schema']} is not 1")
    results = document["results"]
    quality = tuple(record_of(Quality, result) for result in results if "psnr_y_db" in result)
    latency = tuple(record_of(HostLatency, result) for result in results if "psnr_y_db" not in result)
    return quality, latency


def _results(
    document: Mapping[str, Any], source: Path
) -> tuple[tuple[Quality, ...], tuple[HostLatency, ...]]:
    try:
        return results_of(document)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source} is neither of eval --json nor of bench --json: {error!r}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object; give a file of eval --json or bench --json")
    return document


def _timed_on(runtime: str, timed: list[HostLatency]) -> HostLatency | None:
    return next((found for found in timed if found.runtime == runtime), timed[0] if timed else None)


def _step_of_quality(quality: Quality) -> Step:
    return Step(
        artifact=quality.artifact,
        format=quality.format,
        recipe=quality.recipe,
        method=quality.method,
        status="OK",
    )


def _step_of_latency(latency: HostLatency) -> Step:
    return Step(
        artifact=latency.artifact,
        format="",
        recipe=latency.recipe or latency.compared or "",
        status="OK" if latency.reason is None else "SKIPPED",
        reason=latency.reason or "",
        size_bytes=latency.size_bytes,
    )
