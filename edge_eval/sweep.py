"""Files timed over sizes and thread counts; at each pair of those, files and the host's floor take turns."""

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.errors import InputError
from models.progress import Progress, silent

from .floor import Floor, floor_of, products
from .latency import (
    EMULATED,
    Latency,
    count_ops,
    file_bytes,
    free_mb,
    native_hw,
    percentile,
    probe_fresh,
)
from .runner import FloatImage, Runner
from .runtimes.table import RUNTIMES, available_cores, kind_of, open_runner
from .timed_file import TimedFile
from .turns import Contender, contender_of, take_turns

FLOAT_RUNTIME = {"tflite": "tflite", "coreml": "coreml"}
"""On which runtime the straight float file of a format counts, where it did not run on the row's own."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What to time.

    Attributes:
        sizes: (H, W) of inputs; None: each file's own.
        threads: CPU threads; empty: every core this process may use.
        warmup: runs of each before the first that counts.
        runs: runs of each that count.
        rounds: turns over which they are spread.
        most_s: seconds of runs per row, after which it takes no more; None sets no limit.
        floor: whether this host's matrix products take turns too.
        strict: whether to raise what keeps a file from being timed, or to give the reason in its row.
    """

    sizes: tuple[tuple[int, int] | None, ...] = (None,)
    threads: tuple[int, ...] = ()
    warmup: int = 5
    runs: int = 50
    rounds: int = 5
    most_s: float | None = None
    floor: bool = True
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class Timings:
    """One row per file, size and thread count, and the floor of every group that took turns."""

    latencies: tuple[Latency, ...]
    floors: tuple[Floor, ...]


@dataclass(kw_only=True)
class _Row:
    """A file at one size, with what became of it so far."""

    file: TimedFile
    input_hw: tuple[int, int]
    threads: int
    own_hw: tuple[int, int] | None = None
    fresh: dict[str, float] | None = None
    runner: Runner | None = None
    contender: Contender | None = None
    macs: dict[str, int] | None = None
    reason: str | None = None


def run_sweep(files: Sequence[TimedFile], sweep: Sweep, *, progress: Progress = silent) -> Timings:
    """The latency of each file at each size and thread count.

    Raises:
        InputError: counts make no sense, or, where `strict`, a file cannot be timed as asked; in any case
            where no file can.
    """
    if sweep.runs < 1 or sweep.warmup < 0 or not files:
        raise InputError(
            f"{len(files)} files, {sweep.runs} runs and {sweep.warmup} warm-up runs were asked for; "
            "give a file, and 1 run or more"
        )
    groups = tuple(_groups(files, sweep))
    latencies: list[Latency] = []
    floors: list[Floor] = []
    could_open = False
    for number, rows in enumerate(groups, start=1):
        stage = "bench" if len(groups) == 1 else f"bench {number} of {len(groups)}"
        floor, rounds = _time_group(rows, sweep, progress, stage)
        if floor is not None:
            floors.append(floor)
        latencies += _with_ratios([_latency(row, floor, rounds=rounds) for row in rows], rows)
        could_open |= any(row.runner is not None for row in rows)
        for row in rows:
            row.runner = row.contender = None
    if not could_open:
        raise InputError("; ".join(dict.fromkeys(latency.reason or "" for latency in latencies)))
    return Timings(latencies=tuple(latencies), floors=tuple(floors))


def _groups(files: Sequence[TimedFile], sweep: Sweep) -> Iterator[list[_Row]]:
    """Rows that take turns: those of one size and thread count; files' own sizes count as one size."""
    own = [_own_hw(file, strict=sweep.strict) for file in files]
    for asked_hw, count in itertools.product(sweep.sizes, sweep.threads or (available_cores(),)):
        rows = []
        for file, (known, reason) in zip(files, own, strict=True):
            hw = asked_hw or known or (0, 0)
            rows.append(_Row(file=file, input_hw=hw, threads=count, own_hw=known, reason=reason))
        yield rows


def _own_hw(file: TimedFile, *, strict: bool) -> tuple[tuple[int, int] | None, str | None]:
    """The file's own size, or why it cannot be opened."""
    if file.reason is not None:
        return None, file.reason
    try:
        return native_hw(file.path, file.runtime), None
    except InputError as error:
        if strict:
            raise
        return None, str(error)


def _time_group(rows: list[_Row], sweep: Sweep, progress: Progress, stage: str) -> tuple[Floor | None, int]:
    """Open what can be opened, let it take turns, close it; the floor, and the rounds."""
    for done, row in enumerate(rows):
        progress(f"{stage}: open", done, len(rows), row.file.path.name)
        if row.reason is None:
            _open(row, rows[:done], sweep)
    progress(f"{stage}: open", len(rows), len(rows))
    timed = [row.contender for row in rows if row.contender is not None]
    precisions = [name for row in rows if row.contender and row.macs for name in row.macs]
    threads = rows[0].threads
    marks = products(precisions, threads=threads, most_s=sweep.most_s) if sweep.floor else {}
    everyone = [*timed, *marks.values()]
    rounds = 0
    if timed:
        counts = {"warmup": sweep.warmup, "runs": sweep.runs, "rounds": sweep.rounds}
        rounds = take_turns(everyone, **counts, progress=progress, stage=stage)
    floor = floor_of(marks, threads=threads, input_hw=rows[0].input_hw) if marks and timed else None
    return floor, rounds


def _open(row: _Row, others: Sequence[_Row], sweep: Sweep) -> None:
    """Open a row's file, after a fresh process has told that it can be and what memory it takes."""
    file, hw = row.file, row.input_hw
    kind = RUNTIMES[file.runtime].kind
    try:
        if kind != "checkpoint" and not RUNTIMES[file.runtime].is_emulator:
            _probe(row, others)
        row.runner = open_runner(file.path, runtime=file.runtime, threads=row.threads, input_hw=hw)
        if _is_emulator(row):
            row.reason = EMULATED[kind].format(file.runtime)
            return
        if row.fresh is None:
            _probe(row, others)
        row.macs = file.macs(hw)
        image = _image(hw, int(getattr(row.runner, "channels", 3)))
        row.contender = contender_of(row.runner, image, name=_name(row, others), most_s=sweep.most_s)
    except InputError as error:
        if sweep.strict:
            raise
        row.runner, row.reason = None, str(error)


def _probe(row: _Row, others: Sequence[_Row]) -> None:
    """What a fresh process tells of the file; refused if that is too much beside the others."""
    row.fresh = probe_fresh(row.file.path, row.file.runtime, row.threads, row.input_hw)
    _refuse_crowd(row, others)


def _name(row: _Row, others: Sequence[_Row]) -> str:
    """The file's name, with its runtime where it takes turns with itself."""
    name = row.file.path.name
    return f"{name} on {row.file.runtime}" if any(one.file.path.name == name for one in others) else name


def _image(hw: tuple[int, int], channels: int) -> FloatImage:
    """Noise of 8 bits: kernels' time does not depend on the pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (*hw, channels))
    return pixels.astype(np.float32) / np.float32(255)


def _is_emulator(row: _Row) -> bool:
    return RUNTIMES[row.file.runtime].is_emulator or bool(getattr(row.runner, "is_simulation", False))


def _refuse_crowd(row: _Row, others: Sequence[_Row]) -> None:
    """Refuse a file whose memory would not fit beside that of the files which are open.

    Raises:
        InputError: saying how much it takes and how much there is.
    """
    wanted = _megabytes(row) + sum(_megabytes(one) for one in others if one.contender is not None)
    free = free_mb()
    if wanted > free:
        raise InputError(
            f"{row.file.path.name} at {row.input_hw[0]}x{row.input_hw[1]} and the files it takes turns with "
            f"need {wanted:.0f} MiB, and {free:.0f} MiB are to be had; time fewer files at once"
        )


def _megabytes(row: _Row) -> float:
    """What a file took in a process of its own, without Python and libraries."""
    return row.fresh["peak_rss_mb"] - row.fresh["base_rss_mb"] if row.fresh else 0.0


def _latency(row: _Row, floor: Floor | None, *, rounds: int) -> Latency:
    """The figures of a row, without those that other rows are needed for."""
    file, fresh = row.file, row.fresh or {}
    times = tuple(row.contender.samples_ms) if row.contender else ()
    median = statistics.median(times) if times else None
    scale = row.runner.scale if row.runner else None
    output_hw = (scale * row.input_hw[0], scale * row.input_hw[1]) if scale else None
    floor_ms = floor.ms(row.macs) if floor and times else None
    return Latency(
        artifact=file.path.name,
        runtime=file.runtime,
        threads=row.threads,
        input_hw=row.input_hw,
        warmup=row.contender.warmed if row.contender else 0,
        runs=len(times),
        init_ms=fresh.get("init_ms"),
        median_ms=median,
        p90_ms=percentile(times, 90) if times else None,
        min_ms=min(times, default=None),
        mean_ms=statistics.fmean(times) if times else None,
        std_ms=statistics.pstdev(times) if times else None,
        peak_rss_mb=fresh.get("peak_rss_mb"),
        size_bytes=file_bytes(file.path) if file.path.exists() else 0,
        ops=count_ops(file.path) if row.runner else {},
        samples_ms=times,
        rounds=rounds if times else 0,
        base_rss_mb=fresh.get("base_rss_mb"),
        outside=getattr(row.runner, "outside", None),
        reason=row.reason,
        recipe=file.recipe,
        compared=file.compared,
        native_hw=None if kind_of(file.path) == "checkpoint" else row.own_hw,
        output_hw=output_hw,
        macs=sum(row.macs.values()) if row.macs else None,
        floor_ms=floor_ms,
        floor_ratio=median / floor_ms if median and floor_ms else None,
    )


def _with_ratios(latencies: list[Latency], rows: list[_Row]) -> list[Latency]:
    """The same rows of one group, each with its time over that of its network's straight float file."""
    result = []
    for latency, row in zip(latencies, rows, strict=True):
        base = _float_row(row, rows)
        marked = latency
        if base is not None and latency.median_ms:
            against = latencies[rows.index(base)]
            assert against.median_ms is not None, "only rows that were timed are compared with"
            marked = replace(
                latency,
                float_row=f"{against.artifact} on {against.runtime}",
                float_ratio=latency.median_ms / against.median_ms,
            )
        result.append(marked)
    return result


def _float_row(row: _Row, rows: list[_Row]) -> _Row | None:
    """The straight float file of a row's network: on the row's runtime, else on its format's own.

    That of the row's own format comes before that of another.
    """
    source, suffix = row.file.source_sha256, row.file.path.suffix
    if source is None:
        return None
    straight = [
        one
        for one in rows
        if one.contender
        and one.file.is_straight_float
        and one.file.source_sha256 == source
        and one.input_hw == row.input_hw
        and one.file.runtime in (row.file.runtime, *FLOAT_RUNTIME.values())
    ]
    straight.sort(key=lambda one: (one.file.path.suffix != suffix, one.file.runtime != row.file.runtime))
    return straight[0] if straight else None
