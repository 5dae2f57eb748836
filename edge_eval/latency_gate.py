"""A limit on one file's time as a part of another's, such as `w8a8/fp32@tflite=0.5`."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from models.errors import InputError

from .report_data import HostLatency
from .report_text import beyond_text, limit_text

GRAMMAR = re.compile(r"(?P<above>[^/=]+)/(?P<below>[^/=]+)=(?P<most>\d+(\.\d*)?|\.\d+)")


class Named(Protocol):
    """What a row is called by."""

    @property
    def artifact(self) -> str:
        """Name of the file."""

    @property
    def runtime(self) -> str:
        """What runs it."""

    @property
    def recipe(self) -> str | None:
        """How it was made."""

    @property
    def compared(self) -> str | None:
        """The tool that made it, if it is only compared with."""


Row = TypeVar("Row", bound=Named)


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row that there will be; `timed` says whether it will have a time.

    Rows of one name are told apart by `input_hw`, (H, W), where it is known and not the same.
    """

    artifact: str
    runtime: str
    recipe: str | None = None
    compared: str | None = None
    timed: bool = True
    input_hw: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class RowName:
    """`NAME` or `NAME@RUNTIME`; a name is a file's, a recipe, a tool that is compared with, or a runtime."""

    name: str
    runtime: str | None = None

    @classmethod
    def read(cls, text: str) -> "RowName":
        """The name that `str` gives."""
        name, _, runtime = text.strip().partition("@")
        return cls(name=name, runtime=runtime or None)

    def __str__(self) -> str:
        return self.name if self.runtime is None else f"{self.name}@{self.runtime}"

    def among(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are meant: by file name if there are such, else by recipe, by tool, by runtime.

        Raises:
            InputError: there is none.
        """
        there = [row for row in rows if self.runtime in (None, row.runtime)]
        for key in ("artifact", "recipe", "compared", "runtime"):
            found = [row for row in there if getattr(row, key) == self.name]
            if found:
                return found
        known = dict.fromkeys(f"{row.artifact}@{row.runtime}" for row in rows)
        recipes = dict.fromkeys(row.recipe for row in rows if row.recipe)
        raise InputError(
            f"--max-latency-ratio: {self} names none of the rows {', '.join(known) or '(there are none)'}; "
            f"give one of these, or a recipe ({', '.join(recipes) or 'none is known'})"
        )


@dataclass(frozen=True, kw_only=True)
class LatencyRatio:
    """The median time of `above` may be `most` times that of `below`, at each size and thread count."""

    above: RowName
    below: RowName
    most: float

    @classmethod
    def read(cls, text: str) -> "LatencyRatio":
        """What `A/B=NUMBER` says.

        Raises:
            InputError: it is something else.
        """
        match = GRAMMAR.fullmatch(text.strip())
        if match is None:
            raise InputError(
                f"{text!r} is no latency ratio; give A/B=NUMBER, as w8a8/fp32@tflite=0.5: A and B are file "
                "names or recipes, @RUNTIME where several match"
            )
        return cls(
            above=RowName.read(match["above"]), below=RowName.read(match["below"]), most=float(match["most"])
        )

    def __str__(self) -> str:
        return f"{self.above}/{self.below}={limit_text(self.most)}"

    def refuse_unusable(self, rows: Sequence[PlannedRow]) -> None:
        """Refuse names that no row will have, or several, before anything is timed at one size and threads.

        Raises:
            InputError: saying which.
        """
        for name in (self.above, self.below):
            found = name.among(rows)
            timed = [row for row in found if row.timed]
            if not timed:
                raise InputError(
                    f"--max-latency-ratio: {found[0].artifact} on {found[0].runtime} gets no time here; "
                    "give a row that is timed"
                )
            alike = [row for row in timed if sum(one.input_hw == row.input_hw for one in timed) > 1]
            if alike:
                raise _ambiguous(name, [row for row in alike if row.input_hw == alike[0].input_hw])

    def failures(self, rows: Sequence[HostLatency]) -> Iterable[str]:
        """One line per size and thread count at which the limit is not kept, or if it cannot be checked.

        Raises:
            InputError: a name fits no row, or several of one size and thread count.
        """
        above, below = (_timed(name, rows) for name in (self.above, self.below))
        common = [setting for setting in above if setting in below]
        if not common:
            yield f"{self}: {self._why_not(rows)}, so the limit cannot be checked"
        for setting in common:
            one, other = above[setting], below[setting]
            ratio = (one.median_ms or 0.0) / (other.median_ms or 1.0)
            if not ratio <= self.most:
                shown = beyond_text(ratio, self.most, digits=3)
                yield (
                    f"{one.artifact} on {one.runtime} takes {shown} times as long as {other.artifact} on "
                    f"{other.runtime} ({one.median_ms:.2f} and {other.median_ms:.2f} ms, median, "
                    f"{_words(setting)}), more than --max-latency-ratio {self}"
                )

    def _why_not(self, rows: Sequence[HostLatency]) -> str:
        """Why there are no two times to compare."""
        for name in (self.above, self.below):
            found = name.among(rows)
            if any(row.mean_ms is not None and row.median_ms is None for row in found):
                one = next(row for row in found if row.mean_ms is not None and row.median_ms is None)
                return f"{one.artifact} on {one.runtime} has no median, only a mean of {one.mean_ms:.2f} ms"
            if all(row.median_ms is None for row in found):
                return f"{found[0].artifact} on {found[0].runtime} has no time ({found[0].reason})"
        return f"{self.above} and {self.below} were not timed at one size with as many threads"


Setting = tuple[int, tuple[int, int]]


def _timed(name: RowName, rows: Sequence[HostLatency]) -> dict[Setting, HostLatency]:
    """The rows with a time that a name means, by threads and size."""
    found: dict[Setting, HostLatency] = {}
    for row in name.among(rows):
        if row.median_ms is None:
            continue
        setting = (row.threads, row.input_hw)
        if setting in found:
            raise _ambiguous(name, [found[setting], row])
        found[setting] = row
    return found


def _ambiguous(name: RowName, rows: Sequence[Named]) -> InputError:
    listed = " and ".join(f"{row.artifact}@{row.runtime}" for row in rows)
    return InputError(f"--max-latency-ratio: {name} names {listed}; write one of these for it")


def _words(setting: Setting) -> str:
    threads, (height, width) = setting
    return f"{height}x{width}, {threads} thread{'s' * (threads != 1)}"
