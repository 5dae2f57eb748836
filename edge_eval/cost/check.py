"""How good the estimate is where it can be checked: on this computer, against measured latency."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.progress import Progress, silent

from ..latency import bench
from ..runtimes.table import available_cores
from .count import count_costs
from .profile import Profile, measure_host
from .roofline import MODEL, estimate

FEWEST = 3
"""Files below which a rank correlation says nothing."""


@dataclass(frozen=True, kw_only=True)
class CheckedFile:
    """One file's estimate beside its measured median."""

    artifact: str
    input_hw: tuple[int, int]
    estimated_ms: float
    measured_ms: float

    @property
    def ratio(self) -> float:
        """Measured over estimated: above 1 where the estimate is too good."""
        return self.measured_ms / self.estimated_ms


@dataclass(frozen=True, kw_only=True)
class HostCheck:
    """The model's error on this computer.

    Attributes:
        profile: the measured profile that the estimates used.
        files: each file that can be checked.
        skipped: why others cannot, by name.
        rank_correlation: Spearman's, of estimated with measured; None for fewer than 3 files.
        typical_ratio: geometric mean of measured over estimated.
        spread: largest factor by which a file's ratio is off from `typical_ratio`: 1 is a perfect model.
    """

    profile: Profile
    files: tuple[CheckedFile, ...]
    rank_correlation: float | None
    typical_ratio: float
    spread: float
    skipped: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """`check` of `estimate --json`."""
        return {
            "model": MODEL,
            "profile": self.profile.to_json(),
            "rank_correlation": self.rank_correlation,
            "typical_ratio": self.typical_ratio,
            "spread": self.spread,
            "files": [{**vars(checked), "ratio": checked.ratio} for checked in self.files],
            "skipped": dict(self.skipped),
        }


def check_on_host(
    models: Sequence[Path],
    *,
    threads: int | None = None,
    input_hw: tuple[int, int] | None = None,
    runs: int = 20,
    profile: Profile | None = None,
    progress: Progress = silent,
) -> HostCheck:
    """Estimate files with this computer's measured peaks, and measure them.

    Args:
        models: TFLite files, or ML Programs on a Mac.
        threads: CPU threads for both; None: every core this process may use.
        input_hw: (H, W) for all; None: each file's own.
        runs: timed runs of each.
        profile: of `measure_host`; None: measured now.
        progress: told as `bench` does.

    Raises:
        InputError: no file can be timed on this computer, or all compute in what was not measured.
    """
    count = threads if threads is not None else available_cores()
    host = profile or measure_host(threads=count)
    timed = bench(models, threads=count, input_hw=input_hw, runs=runs, progress=progress)
    files, skipped = [], {}
    for path, latency in zip(models, timed, strict=True):
        guess = estimate(count_costs(Path(path), input_hw=latency.input_hw), host)
        if guess.estimated_ms is None or latency.median_ms is None:
            skipped[latency.artifact] = latency.reason or guess.reason or "it has no time"
            continue
        files.append(
            CheckedFile(
                artifact=latency.artifact,
                input_hw=latency.input_hw,
                estimated_ms=guess.estimated_ms,
                measured_ms=latency.median_ms,
            )
        )
    if not files:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise InputError(f"no file can be checked on this computer: {reasons}; leave out --check")
    return replace(judge(tuple(files), host), skipped=skipped)


def judge(files: tuple[CheckedFile, ...], profile: Profile) -> HostCheck:
    """The error over files: how well they are ranked, how far off they are, and how differently."""
    logs = [math.log(checked.ratio) for checked in files]
    typical = statistics.fmean(logs)
    rank = None
    if len(files) >= FEWEST:
        estimated = _ranks([checked.estimated_ms for checked in files])
        measured = _ranks([checked.measured_ms for checked in files])
        rank = float(np.corrcoef(estimated, measured)[0, 1])
    return HostCheck(
        profile=profile,
        files=files,
        rank_correlation=rank,
        typical_ratio=math.exp(typical),
        spread=math.exp(max(abs(log - typical) for log in logs)),
    )


def _ranks(values: list[float]) -> list[float]:
    """Rank of each value, ties sharing their mean rank."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
