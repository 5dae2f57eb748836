"""Earlier results that later ones must not fall behind."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from models.errors import InputError

from .report_data import HostLatency, Quality, read_report
from .report_text import beyond_text, limit_text
from .tolerances import limit


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """How much worse a result may be than the earlier one.

    Attributes:
        psnr: dB that PSNR-Y may fall.
        size: part by which a file may grow.
        latency: part by which a time, relative to another row's, may grow.
    """

    psnr: float = limit("baseline_psnr")
    size: float = limit("baseline_size")
    latency: float = limit("baseline_latency")

    @classmethod
    def read(cls, text: str) -> "Allowed":
        """What `psnr=DB,size=PART,latency=PART` says; what is not named keeps its default.

        Raises:
            InputError: it says something else.
        """
        known = [field.name for field in fields(cls)]
        given: dict[str, float] = {}
        for part in text.split(","):
            match = re.fullmatch(r"(\w+)=(\d+(?:\.\d*)?|\.\d+)", part.strip())
            if match is None or match[1] not in known:
                raise InputError(
                    f"{part.strip()!r} is no tolerance; give {', '.join(known)} as name=number: "
                    "psnr in dB, the others as parts, as psnr=0.02,latency=0.2"
                )
            given[match[1]] = float(match[2])
        return replace(cls(), **given)


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """Earlier results.

    Attributes:
        name: of the file or folder they came from.
        quality: of `eval` or `run`.
        latency: of `bench` or `run`.
        allowed: how much worse the new ones may be.
    """

    name: str
    quality: tuple[Quality, ...] = ()
    latency: tuple[HostLatency, ...] = ()
    allowed: Allowed = Allowed()

    def failures(self, quality: Sequence[Quality], latency: Sequence[HostLatency]) -> Iterator[str]:
        """One line per earlier result that is missing or was better; rows that are new are free."""
        for old in self.quality:
            found = next((new for new in quality if _quality_key(new) == _quality_key(old)), None)
            yield from self._worse_quality(old, found)
        for timed in self.latency:
            now = next((new for new in latency if _latency_key(new) == _latency_key(timed)), None)
            what = _latency_words(timed)
            if now is None:
                yield f"{what}: is in {self.name} and not among the results"
                continue
            yield from self._slower(what, timed, now, latency)
        yield from self._larger(_file_sizes(*quality, *latency))

    def _worse_quality(self, old: Quality, new: Quality | None) -> Iterator[str]:
        what = f"{old.artifact} on {old.runtime}, {old.dataset}"
        if new is None:
            yield f"{what}: is in {self.name} and not among the results"
        elif old.psnr_y_db is not None and new.psnr_y_db is None:
            yield f"{what}: has no PSNR now, and {old.psnr_y_db:.4f} dB in {self.name}"
        elif old.psnr_y_db is not None and new.psnr_y_db is not None:
            fall = old.psnr_y_db - new.psnr_y_db
            if not fall <= self.allowed.psnr:
                less = beyond_text(fall, self.allowed.psnr, digits=4)
                yield (
                    f"{what}: PSNR-Y {new.psnr_y_db:.4f} dB, {less} less than in {self.name} "
                    f"({old.psnr_y_db:.4f}); {limit_text(self.allowed.psnr)} is allowed"
                )

    def _larger(self, sizes: Mapping[str, int]) -> Iterator[str]:
        """One line per file that grew, however many rows it has; `sizes` are the new ones."""
        for name, old in _file_sizes(*self.quality, *self.latency).items():
            growth = sizes.get(name, old) / old - 1
            if not growth <= self.allowed.size:
                yield (
                    f"{name}: {sizes[name]:,} bytes, {_percent(growth, self.allowed.size)} more than in "
                    f"{self.name} ({old:,}); {_allowed(self.allowed.size)} is allowed"
                )

    def _slower(
        self, what: str, old: HostLatency, new: HostLatency, latency: Sequence[HostLatency]
    ) -> Iterator[str]:
        """Times of two computers, or two days, are compared as parts of a yardstick's time.

        That is another row of the same size and thread count, timed both times: the one whose own time grew
        by the median of all others' (by the lower one of two), so that every row is held against others, the
        first as well. Where both documents have times over this computer's matrix product, the first row is
        held against that instead, and so is a row that is alone: then not even all rows may become slower
        alike. What became faster alone makes others seem slower where there are fewer than four rows.
        """
        if not old.median_ms:
            return
        if new.median_ms is None:
            why = new.reason or "no median"
            yield f"{what}: has no time now ({why}), and {old.median_ms:.2f} ms in {self.name}"
            return
        alike = self._timed_like(old)
        is_first = _latency_key(alike[0]) == _latency_key(old)
        yardstick = self._yardstick(old, latency)
        if old.floor_ratio and new.floor_ratio and (is_first or yardstick is None):
            yield from self._grown(what, "this computer's matrix product", old.floor_ratio, new.floor_ratio)
        elif yardstick is not None:
            before, now = yardstick
            yield from self._grown(
                what, before.artifact, old.median_ms / _ms(before), new.median_ms / _ms(now)
            )
        elif len(alike) == 1:
            yield (
                f"{what}: no other row of {self.name} was timed like it, so its time cannot be "
                "compared; time a second file with it"
            )

    def _grown(self, what: str, yardstick: str, before: float, now: float) -> Iterator[str]:
        growth = now / before - 1
        if not growth <= self.allowed.latency:
            yield (
                f"{what}: takes {now:.3f} times as long as {yardstick}, "
                f"{_percent(growth, self.allowed.latency)} more than in {self.name} ({before:.3f}); "
                f"{_allowed(self.allowed.latency)} is allowed"
            )

    def _yardstick(
        self, old: HostLatency, latency: Sequence[HostLatency]
    ) -> tuple[HostLatency, HostLatency] | None:
        """The other row, then and now, whose time grew by the lower median; None where there is no other."""
        now = {_latency_key(row): row for row in latency if row.median_ms}
        others = [row for row in self._timed_like(old) if _latency_key(row) != _latency_key(old)]
        pairs = [(row, now[_latency_key(row)]) for row in others if _latency_key(row) in now]
        pairs.sort(key=lambda pair: _ms(pair[1]) / _ms(pair[0]))
        return pairs[(len(pairs) - 1) // 2] if pairs else None

    def _timed_like(self, like: HostLatency) -> list[HostLatency]:
        """The earlier rows with a time at this size and thread count."""
        setting = (like.threads, like.input_hw)
        return [row for row in self.latency if (row.threads, row.input_hw) == setting and row.median_ms]


def read_baseline(source: Path, allowed: Allowed, *, needs: Sequence[str]) -> Baseline:
    """The results in a folder of `run`, or in a document of `eval --json` or `bench --json`.

    Args:
        source: the folder or file.
        allowed: how much worse new results may be.
        needs: kinds of result that the new ones will have: `quality`, `latency`, or both.

    Raises:
        InputError: it cannot be read, or holds none of these.
    """
    report = read_report(source)
    held = {"quality": report.quality, "latency": report.latency}
    if not any(held[kind] for kind in needs):
        commands = {"quality": "eval", "latency": "bench"}
        wanted = " or ".join(commands[kind] for kind in needs)
        raise InputError(
            f"{source} holds no result of {wanted} to compare with; give its --json, or a run's folder"
        )
    return Baseline(
        name=str(source),
        quality=report.quality if "quality" in needs else (),
        latency=report.latency if "latency" in needs else (),
        allowed=allowed,
    )


def _percent(growth: float, allowed: float) -> str:
    """A growth that is more than allowed, both parts, with the digits that show it."""
    return f"{beyond_text(100 * growth, 100 * allowed, digits=1)}%"


def _allowed(part: float) -> str:
    """A part as a percentage, one digit after the point unless more are needed."""
    percent = round(100 * part, 9)
    return f"{percent:.1f}%" if percent == round(percent, 1) else f"{limit_text(percent)}%"


def _file_sizes(*rows: Quality | HostLatency) -> dict[str, int]:
    """The bytes of every file that rows are of, by its name; a row whose size is not known says nothing."""
    return {row.artifact: row.size_bytes for row in rows if row.size_bytes}


def _quality_key(row: Quality) -> tuple[object, ...]:
    return row.artifact, row.runtime, row.dataset, row.scale


def _latency_key(row: HostLatency) -> tuple[object, ...]:
    return row.artifact, row.runtime, row.threads, row.input_hw


def _ms(row: HostLatency) -> float:
    assert row.median_ms
    return row.median_ms


def _latency_words(row: HostLatency) -> str:
    threads = f"{row.threads} thread{'s' * (row.threads != 1)}"
    return f"{row.artifact} on {row.runtime}, {row.input_hw[0]}x{row.input_hw[1]}, {threads}"
