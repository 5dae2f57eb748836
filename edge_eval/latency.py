"""How long networks take on this host, measured so that they can be compared.

Every network is opened once; then they take turns, a few runs each per round, so that a host that slows
down or is disturbed slows all of them. What is timed is the bare run; pixels are converted outside of
it. Opening time and memory come from a fresh process per network. It is this host's latency: a phone's
has to come from a phone.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError
from models.files import size_of
from models.progress import Progress, silent

from .quantized_file import is_quantized, load_quantized_checkpoint
from .runner import FloatImage, Runner
from .runtimes.table import RUNTIMES, available_cores, default_runtime, kind_of, open_runner

DEFAULT_HW = (128, 128)
"""Size for networks that have none of their own."""

ROUNDS = 5
EMULATED = {
    "coreml": "runtime {} emulates Core ML's numbers; its time is not a latency. Run it on a Mac or device.",
    "tflite": "runtime {} emulates an Arm core's numbers; its time is not a latency. Run it on a device.",
    "checkpoint": "runtime {} simulates integers in float; its time is not a latency. Convert it first.",
}
"""Why an emulator of a kind of file is not timed."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One network's time on this host. Times are None, with the reason, where they would say nothing.

    Attributes:
        artifact: name of the file.
        runtime: row of `RUNTIMES`.
        threads: CPU threads.
        input_hw: (H, W) of the LR image.
        warmup: runs before the first that counts.
        runs: runs that count.
        init_ms: opening the file in a fresh process, libraries loaded before.
        median_ms: of `samples_ms`, as are `p90_ms`, `min_ms`, `mean_ms` and `std_ms` (population).
        peak_rss_mb: most resident memory of the fresh process, Python and libraries included, in MiB.
        size_bytes: of the file.
        ops: operations by the format's names, and how many of each.
        samples_ms: every run that counts, in order.
        rounds: turns over which the runs are spread.
        base_rss_mb: resident memory of the fresh process before the file is opened, in MiB.
        outside: operations that ran outside the delegate, for runtimes with one.
        reason: why there are no times.
    """

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
    ops: dict[str, int]
    samples_ms: tuple[float, ...] = ()
    rounds: int = 0
    base_rss_mb: float | None = None
    outside: tuple[str, ...] | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """An entry of `results` of `bench --json`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def bench(
    models: Sequence[Path],
    *,
    runtime: str | None = None,
    threads: int | None = None,
    input_hw: tuple[int, int] | None = None,
    warmup: int = 5,
    runs: int = 50,
    rounds: int = ROUNDS,
    progress: Progress = silent,
) -> list[Latency]:
    """The latency of each file, the files taking turns.

    Args:
        models: checkpoints, `.tflite` files, `.mlpackage` folders.
        runtime: row of `RUNTIMES` for all; None: the first available one of each file's kind.
        threads: CPU threads; None: every core this process may use.
        input_hw: (H, W) for all; None: each file's own size, or `DEFAULT_HW`.
        warmup: runs of each before the first that counts.
        runs: runs of each that count.
        rounds: turns over which they are spread.
        progress: told after each turn.

    Raises:
        InputError: a file cannot be opened or does not go at that size, or a count makes no sense.
    """
    if runs < 1 or warmup < 0 or not models:
        raise InputError(
            f"{len(models)} files, {runs} runs and {warmup} warm-up runs were asked for; "
            "give a file, and 1 run or more"
        )
    count = threads if threads is not None else available_cores()
    opened = [_Contender.of(Path(model), runtime, count, input_hw) for model in models]
    timed = [contender for contender in opened if not contender.is_emulator]
    turns = _shares(runs, min(rounds, runs))
    for done, share in enumerate(turns):
        for contender in timed:
            contender.run(share, warmup=warmup if done == 0 else min(warmup, 1))
        progress("bench", done + 1, len(turns), _live(timed))
    return [contender.result(warmup=warmup, runs=runs, rounds=len(turns)) for contender in opened]


def percentile(samples: Sequence[float], percent: float) -> float:
    """The percentile, linear between neighbours."""
    return float(np.percentile(samples, percent))


def count_ops(path: Path) -> dict[str, int]:
    """Operations of a network by name: TFLite's, MIL's, or PyTorch's modules for a checkpoint.

    Raises:
        InputError: the file cannot be read.
    """
    return _COUNTERS[kind_of(path)](path)


def _tflite_ops(path: Path) -> dict[str, int]:
    from convert.tflite_file import tflite_ops

    return tflite_ops(path)


def _mil_ops(path: Path) -> dict[str, int]:
    from .mil import load_program

    return load_program(path).count_operations()


def _torch_ops(path: Path) -> dict[str, int]:
    from models import load_checkpoint, reparameterize

    if is_quantized(path):
        return load_quantized_checkpoint(path).ops
    network = reparameterize(load_checkpoint(path).network)
    names = [type(module).__name__ for module in network.modules() if not list(module.children())]
    return {name: names.count(name) for name in sorted(set(names))}


_COUNTERS = {"tflite": _tflite_ops, "coreml": _mil_ops, "checkpoint": _torch_ops}


@dataclass(kw_only=True)
class _Contender:
    """One file among those that take turns, and its times so far."""

    path: Path
    runtime: str
    threads: int
    input_hw: tuple[int, int]
    runner: Runner
    image: FloatImage
    samples_ms: list[float]

    @classmethod
    def of(
        cls, path: Path, runtime: str | None, threads: int, input_hw: tuple[int, int] | None
    ) -> "_Contender":
        name = runtime or default_runtime(kind_of(path))
        hw = input_hw or native_hw(path, name)
        runner = open_runner(path, runtime=name, threads=threads, input_hw=hw)
        channels = int(getattr(runner, "channels", 3))
        pixels = np.random.default_rng(0).integers(0, 256, (*hw, channels))
        image = pixels.astype(np.float32) / np.float32(255)
        return cls(
            path=path,
            runtime=name,
            threads=threads,
            input_hw=hw,
            runner=runner,
            image=image,
            samples_ms=[],
        )

    @property
    def is_emulator(self) -> bool:
        return RUNTIMES[self.runtime].is_emulator or bool(getattr(self.runner, "is_simulation", False))

    def run(self, runs: int, *, warmup: int) -> None:
        """Take a turn."""
        load = getattr(self.runner, "load", None)
        invoke = getattr(self.runner, "invoke", None)
        if load is None or invoke is None:
            raise InputError(f"runtime {self.runtime} cannot be timed; use another")
        load(self.image)
        for index in range(-warmup, runs):
            start = time.perf_counter()
            invoke()
            elapsed_ms = 1e3 * (time.perf_counter() - start)
            if index >= 0:
                self.samples_ms.append(elapsed_ms)

    def result(self, *, warmup: int, runs: int, rounds: int) -> Latency:
        """The figures, with those of a fresh process."""
        times = self.samples_ms
        fresh: dict[str, float] = {}
        if not self.is_emulator:
            fresh = probe_fresh(self.path, self.runtime, self.threads, self.input_hw)
        return Latency(
            artifact=self.path.name,
            runtime=self.runtime,
            threads=self.threads,
            input_hw=self.input_hw,
            warmup=warmup,
            runs=len(times),
            init_ms=fresh.get("init_ms"),
            median_ms=statistics.median(times) if times else None,
            p90_ms=percentile(times, 90) if times else None,
            min_ms=min(times, default=None),
            mean_ms=statistics.fmean(times) if times else None,
            std_ms=statistics.pstdev(times) if times else None,
            peak_rss_mb=fresh.get("peak_rss_mb"),
            size_bytes=size_of(self.path),
            ops=count_ops(self.path),
            samples_ms=tuple(times),
            rounds=rounds if times else 0,
            base_rss_mb=fresh.get("base_rss_mb"),
            outside=getattr(self.runner, "outside", None),
            reason=EMULATED[RUNTIMES[self.runtime].kind].format(self.runtime) if self.is_emulator else None,
        )


def native_hw(path: Path, runtime: str) -> tuple[int, int]:
    """The size that a file was made for, or `DEFAULT_HW`."""
    if kind_of(path) == "checkpoint":
        return DEFAULT_HW
    hw: tuple[int, int] | None = getattr(open_runner(path, runtime=runtime, threads=1), "native_hw", None)
    return hw or DEFAULT_HW


def probe_fresh(path: Path, runtime: str, threads: int, input_hw: tuple[int, int]) -> dict[str, float]:
    """Opening time and memory in a process of its own: `init_ms`, `peak_rss_mb`, `base_rss_mb`.

    Raises:
        InputError: the process failed; its last words are given.
    """
    asked = json.dumps([str(path.resolve()), runtime, threads, list(input_hw)])
    command = [sys.executable, "-m", "edge_eval.latency_probe", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"{path} could not be opened in a fresh process with {runtime}: {last}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _shares(runs: int, rounds: int) -> list[int]:
    """`runs` spread over `rounds` as evenly as it goes."""
    return [runs // rounds + (1 if index < runs % rounds else 0) for index in range(rounds)]


def _live(timed: Sequence[_Contender]) -> str:
    return ", ".join(f"{c.path.name} {statistics.median(c.samples_ms):.1f} ms" for c in timed)
