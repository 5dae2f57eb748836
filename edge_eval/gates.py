"""Quality gates: the limits that a user sets, and what fails them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .baseline import Baseline
from .latency_gate import LatencyRatio, PlannedRow
from .report_data import HostLatency, Quality
from .report_text import beyond_text, limit_text


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Every limit; None, or nothing, sets none.

    Attributes:
        max_drop_db: most that a mean over a data set may lose against the float network, in dB of PSNR-Y.
        min_psnr_db: least mean PSNR-Y.
        max_latency_ratios: most that files may take of others' time.
        baseline: earlier results that must not get worse.
    """

    max_drop_db: float | None = None
    min_psnr_db: float | None = None
    max_latency_ratios: tuple[LatencyRatio, ...] = ()
    baseline: Baseline | None = None

    def failures(
        self, qualities: Sequence[Quality], latencies: Sequence[HostLatency] = ()
    ) -> tuple[str, ...]:
        """One line per result and limit that it does not keep, with the figures.

        Raises:
            InputError: the limit of a time names no row, or several.
        """
        lines = [line for quality in qualities for line in self._failures_of(quality)]
        lines += [line for ratio in self.max_latency_ratios for line in ratio.failures(latencies)]
        if self.baseline is not None:
            lines += self.baseline.failures(qualities, latencies)
        return tuple(lines)

    def refuse_unusable(self, rows: Sequence[PlannedRow]) -> None:
        """Refuse, before any work is done, limits on times that no row will have.

        Raises:
            InputError: see `LatencyRatio.refuse_unusable`.
        """
        for ratio in self.max_latency_ratios:
            ratio.refuse_unusable(rows)

    def to_json(self) -> dict[str, Any]:
        """The entry `gates` of `run.json`."""
        return {
            "max_drop_db": self.max_drop_db,
            "min_psnr_db": self.min_psnr_db,
            "max_latency_ratios": [str(ratio) for ratio in self.max_latency_ratios],
            "baseline": None if self.baseline is None else self.baseline.name,
        }

    def _failures_of(self, quality: Quality) -> Iterable[str]:
        what = f"{quality.artifact} on {quality.runtime}, {quality.dataset}"
        if quality.psnr_y_db is None or quality.drop_db is None:
            if self.max_drop_db is not None or self.min_psnr_db is not None:
                yield f"{what}: no image has a PSNR, so no limit can be checked; give high-resolution images"
            return
        if self.max_drop_db is not None and not quality.drop_db <= self.max_drop_db:
            drop = beyond_text(quality.drop_db, self.max_drop_db, digits=4)
            yield f"{what}: drops {drop} dB, more than --max-drop {limit_text(self.max_drop_db)}"
        if self.min_psnr_db is not None and not quality.psnr_y_db >= self.min_psnr_db:
            psnr = beyond_text(quality.psnr_y_db, self.min_psnr_db, digits=4)
            yield f"{what}: PSNR-Y {psnr} dB, less than --min-psnr {limit_text(self.min_psnr_db)}"
