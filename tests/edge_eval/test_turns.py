"""Turns: how runs are spread, warmed up and cut short; no times."""

import pytest

from edge_eval import turns
from edge_eval.turns import Contender, contender_of, shares, take_turns


class Clock:
    """A clock that stands still but where it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(turns, "time", clock)
    return clock


def runs_of(name: str, log: list[str], clock: Clock | None = None, seconds: float = 0.0) -> Contender:
    def invoke() -> None:
        log.append(name)
        if clock is not None:
            clock.now += seconds

    return Contender(name=name, invoke=invoke)


def test_shares_are_even() -> None:
    assert shares(11, 4) == [3, 3, 3, 2]


def test_everyone_runs_in_every_round() -> None:
    log: list[str] = []
    contenders = [runs_of(name, log) for name in "xy"]
    told: list[tuple[str, int, int]] = []
    rounds = take_turns(
        contenders,
        warmup=2,
        runs=5,
        rounds=2,
        progress=lambda stage, done, total, detail="": told.append((stage, done, total)),
    )
    assert rounds == 2 and "".join(log) == "xxxxxyyyyy" + "yyyxxx"
    assert [len(one.samples_ms) for one in contenders] == [5, 5]
    assert [one.warmed for one in contenders] == [2, 2]
    assert told == [("bench", 1, 2), ("bench", 2, 2)]


def test_a_disturbance_hits_all_in_its_round(clock: Clock) -> None:
    """What interleaving is for: one after the other, the ratio below would be 3."""
    log: list[str] = []
    contenders = [runs_of(name, log, clock, 1.0) for name in "xy"]
    slow_after = 8

    def disturbed(invoke: object, one: Contender) -> None:
        plain = one.invoke

        def slower() -> None:
            plain()
            clock.now += 2.0 * (len(log) > slow_after)

        one.invoke = slower

    for one in contenders:
        disturbed(one.invoke, one)
    take_turns(contenders, warmup=0, runs=8, rounds=4)
    first, second = (sum(one.samples_ms) for one in contenders)
    assert first == pytest.approx(second, rel=0.05)


def test_a_slow_one_takes_fewer_runs_but_three(clock: Clock) -> None:
    slow = runs_of("slow", [], clock, 10.0)
    slow.most_s = 1.0
    quick = runs_of("quick", [], clock, 0.001)
    quick.most_s = 1.0
    take_turns([slow, quick], warmup=5, runs=50, rounds=5)
    assert len(slow.samples_ms) == 3 and slow.warmed == 1
    assert len(quick.samples_ms) == 50 and quick.warmed == 5
    assert slow.samples_ms == [10000.0] * 3


def test_a_runner_without_a_bare_run_is_a_bug() -> None:
    with pytest.raises(TypeError, match="has no load and invoke"):
        contender_of(object(), None, name="x")  # type: ignore[arg-type]
