"""Quality gates: the limits that a user sets, and what fails them."""

from collections.abc import Iterable
from dataclasses import dataclass

from .report_data import Quality


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Limits on the means over a data set, in dB of PSNR-Y; None sets no limit."""

    max_drop_db: float | None = None
    min_psnr_db: float | None = None

    def failures(self, qualities: Iterable[Quality]) -> tuple[str, ...]:
        """One line per artifact and limit that it does not keep."""
        return tuple(line for quality in qualities for line in self._failures_of(quality))

    def _failures_of(self, quality: Quality) -> Iterable[str]:
        what = f"{quality.artifact} on {quality.runtime}, {quality.dataset}"
        if quality.psnr_y_db is None or quality.drop_db is None:
            if self != Gates():
                yield f"{what}: no image has a PSNR, so no limit can be checked; give high-resolution images"
            return
        if self.max_drop_db is not None and not quality.drop_db <= self.max_drop_db:
            yield f"{what}: drops {quality.drop_db:.4f} dB, more than --max-drop {self.max_drop_db:g}"
        if self.min_psnr_db is not None and not quality.psnr_y_db >= self.min_psnr_db:
            yield f"{what}: PSNR-Y {quality.psnr_y_db:.4f} dB, less than --min-psnr {self.min_psnr_db:g}"
