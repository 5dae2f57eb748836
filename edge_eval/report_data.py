"""What a report is made of, read back from the JSON documents that `run`, `eval` and `bench` write."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from models.errors import InputError

from .layer_errors import LayerErrors
from .report_pictures import Scene

Status = Literal["OK", "FAILED", "SKIPPED", "REFERENCE"]

RUN_FILE = "run.json"
EVAL_FILE = "eval.json"
BENCH_FILE = "bench.json"
HTML_FILE = "report.html"
PICTURES_FOLDER = "pictures"

TAKEN = "give a folder that span-edge run wrote, or a JSON file of span-edge eval or bench"


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
    per_image: Annotated[tuple[ImageFigures, ...], msgspec.Meta(min_length=1)]
    size_bytes: int | None = None

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


class JudgedQuality(TypedDict, total=False):
    """What a row of `bench` costs in quality: means over the images of a data set."""

    dataset: str
    images: int
    psnr_y_db: float | None
    float_psnr_y_db: float | None
    drop_db: float | None


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
    quality: JudgedQuality | None = None
    native_hw: tuple[int, int] | None = None
    macs: int | None = None
    float_row: str | None = None
    note: str | None = None


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


class ConfigFacts(TypedDict):
    """The network's hyper-parameters, as far as a report names them."""

    network: str
    upscale: int
    feature_channels: int


class CheckpointFacts(TypedDict):
    """The checkpoint of a run, as far as a report relies on it; other entries are shown as they are."""

    name: str
    file: str
    config: NotRequired[ConfigFacts]


class GateFacts(TypedDict, total=False):
    """The limits of a run."""

    max_drop_db: float | None
    min_psnr_db: float | None
    max_latency_ratios: tuple[str, ...]
    baseline: str | None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """`run.json`, as far as a report shows it."""

    created: str
    checkpoint: CheckpointFacts
    artifacts: tuple[Step, ...]
    environment: Mapping[str, Any]
    pictures: tuple[Scene, ...]
    commands: tuple[str, ...]
    gates: GateFacts
    failures: tuple[str, ...]
    layer_errors: tuple[LayerErrors, ...] = ()
    calibration: Mapping[str, Any] | None = None
    agreement: tuple[AgreementFigures, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Results:
    """A document of `eval --json` or `bench --json`."""

    schema: Literal[1]
    results: tuple[Mapping[str, Any], ...]
    environment: Mapping[str, Any] = field(default_factory=dict)


def read_report(source: Path) -> Report:
    """The report in a folder that `span-edge run` wrote, or in one JSON document of `eval` or `bench`.

    Raises:
        InputError: there is nothing to report on, or it is not ours.
    """
    if source.is_dir():
        return _read_folder(source)
    if not source.is_file():
        raise InputError(f"no {source}; {TAKEN}")
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
        raise InputError(f"{folder} has no {RUN_FILE}; {TAKEN}")
    record = _read_json(folder / RUN_FILE)
    quality: tuple[Quality, ...] = ()
    latency: tuple[HostLatency, ...] = ()
    for name in (EVAL_FILE, BENCH_FILE):
        if (folder / name).is_file():
            found_quality, found_latency = _results(_read_json(folder / name), folder / name)
            quality += found_quality
            latency += found_latency
    try:
        run = msgspec.convert(record, RunRecord)
    except msgspec.ValidationError as error:
        raise InputError(f"{folder / RUN_FILE} is not what span-edge run writes: {error}; {TAKEN}") from error
    return Report(
        title=run.checkpoint["name"],
        folder=folder,
        created=run.created,
        checkpoint=record["checkpoint"],
        steps=run.artifacts,
        quality=quality,
        latency=latency,
        environment=run.environment,
        pictures=run.pictures,
        layer_errors=run.layer_errors,
        calibration=run.calibration,
        agreement=run.agreement,
        commands=run.commands,
        gates=run.gates,
        failures=run.failures,
    )


def results_of(document: Mapping[str, Any]) -> tuple[tuple[Quality, ...], tuple[HostLatency, ...]]:
    """The results of an `eval` or `bench` document, whichever it is.

    Raises:
        msgspec.ValidationError: it is neither.
    """
    quality: list[Quality] = []
    latency: list[HostLatency] = []
    for number, result in enumerate(msgspec.convert(document, Results).results, start=1):
        try:
            if "psnr_y_db" in result:
                quality.append(msgspec.convert(result, Quality))
            else:
                latency.append(msgspec.convert(result, HostLatency))
        except msgspec.ValidationError as error:
            raise msgspec.ValidationError(f"result {number}: {error}") from error
    return tuple(quality), tuple(latency)


def _results(
    document: Mapping[str, Any], source: Path
) -> tuple[tuple[Quality, ...], tuple[HostLatency, ...]]:
    if document.get("kind") == "estimate":
        raise InputError(f"{source} holds what span-edge estimate computed, and nothing measured; {TAKEN}")
    try:
        return results_of(document)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{source} is neither of eval --json nor of bench --json: {error}; {TAKEN}"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object; {TAKEN}")
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
        size_bytes=quality.size_bytes,
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
