"""Taking turns: what is timed runs a few times per round, so that a disturbed host slows all of it alike.

Each round begins with the next one, so that none always runs after the same other, or first.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models.progress import Progress, silent

from .runner import FloatImage, Runner

FEWEST = 3
"""Runs that count even where they take longer than they may."""

WARMUP_PART = 0.2
"""Of the time that runs may take, for warm-up."""


@dataclass(kw_only=True)
class Contender:
    """Something that takes turns, and its times so far.

    Attributes:
        name: for progress.
        invoke: the bare run.
        most_s: seconds after which it takes no more runs, once it has `FEWEST`; None sets no limit.
        samples_ms: times of runs that count, in order.
        spent_s: seconds in runs that count.
        warmed: runs before the first that counts.
    """

    name: str
    invoke: Callable[[], object]
    most_s: float | None = None
    samples_ms: list[float] = field(default_factory=list)
    spent_s: float = 0.0
    warmed: int = 0

    def warm_up(self, runs: int) -> None:
        """Run without counting, for no longer than `WARMUP_PART` of the time allowed, once at least."""
        start = time.perf_counter()
        for done in range(runs):
            if done and self.most_s is not None and time.perf_counter() - start > WARMUP_PART * self.most_s:
                return
            self.invoke()
            self.warmed += not self.samples_ms

    def run(self, runs: int) -> None:
        """Take a turn."""
        for _ in range(runs):
            if self.is_done:
                return
            start = time.perf_counter()
            self.invoke()
            elapsed_s = time.perf_counter() - start
            self.spent_s += elapsed_s
            self.samples_ms.append(1e3 * elapsed_s)

    @property
    def is_done(self) -> bool:
        """Whether its time is up."""
        return self.most_s is not None and len(self.samples_ms) >= FEWEST and self.spent_s > self.most_s


def contender_of(runner: Runner, image: FloatImage, *, name: str, most_s: float | None = None) -> Contender:
    """A runner on an image as a contender.

    Raises:
        InputError: the runner does not take the image.
        TypeError: its bare run cannot be told from the conversion of pixels.
    """
    load: Callable[[FloatImage], None] | None = getattr(runner, "load", None)
    invoke: Callable[[], None] | None = getattr(runner, "invoke", None)
    if load is None or invoke is None:
        raise TypeError(f"runner {runner} has no load and invoke, see Timeable")
    load(image)
    return Contender(name=name, invoke=invoke, most_s=most_s)


def take_turns(
    contenders: Sequence[Contender],
    *,
    warmup: int,
    runs: int,
    rounds: int,
    progress: Progress = silent,
    stage: str = "bench",
) -> int:
    """Run all contenders in turns; the rounds that it took.

    Args:
        contenders: their times are in them afterwards.
        warmup: runs of each before the first that counts. Later turns begin with one more, for caches.
        runs: runs of each that count.
        rounds: turns over which they are spread.
        progress: told after each round.
        stage: name of the stage for it.
    """
    turns = shares(runs, min(rounds, runs))
    for done, share in enumerate(turns):
        first = done % max(len(contenders), 1)
        for contender in (*contenders[first:], *contenders[:first]):
            if not contender.is_done:
                contender.warm_up(warmup if done == 0 else min(warmup, 1))
                contender.run(share)
        progress(stage, done + 1, len(turns), live(contenders))
    return len(turns)


def shares(runs: int, rounds: int) -> list[int]:
    """`runs` spread over `rounds` as evenly as it goes."""
    return [runs // rounds + (1 if index < runs % rounds else 0) for index in range(rounds)]


def live(contenders: Sequence[Contender]) -> str:
    """The last time of each."""
    return ", ".join(f"{one.name} {one.samples_ms[-1]:.1f} ms" for one in contenders if one.samples_ms)
