"""Opens one network in a fresh process, runs it once, tells the cost; `latency.probe_fresh` starts it."""

import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from models.errors import InputError

from .runtimes.table import RUNTIMES, open_runner

MIB = 2**20

REFUSED = "refused"
"""Key of what is told instead of figures: why the network cannot be opened or run."""

STATUS = Path("/proc/self/status")
"""Linux: `VmHWM` is this program's own peak; `ru_maxrss` takes over that of the process that started it."""


def probe(path: str, runtime: str, threads: int, input_hw: tuple[int, int]) -> dict[str, float]:
    """Milliseconds to open the network, and resident memory in MiB before that and at most."""
    for module in RUNTIMES[runtime].imports:
        importlib.import_module(module)
    base = psutil.Process().memory_info().rss
    start = time.perf_counter()
    runner = open_runner(Path(path), runtime=runtime, threads=threads, input_hw=input_hw)
    init_ms = 1e3 * (time.perf_counter() - start)
    runner.run(np.zeros((*input_hw, int(getattr(runner, "channels", 3))), np.float32))
    return {"init_ms": init_ms, "peak_rss_mb": peak_rss_mb(), "base_rss_mb": base / MIB}


def limit_memory(most_mb: float) -> None:
    """Let allocations beyond so many MiB from now on fail, where the system can do that (Linux).

    Without, a network that is too large takes the memory that others need, and the system ends one of them.
    """
    if not STATUS.is_file():
        return
    import resource

    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmData:"))
    most = int(line.split()[1]) * 1024 + int(most_mb * MIB)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def peak_rss_mb() -> float:
    """The most resident memory that this program has had, in MiB."""
    if STATUS.is_file():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


if __name__ == "__main__":
    asked_path, asked_runtime, asked_threads, asked_hw, asked_mb = json.loads(sys.argv[1])
    limit_memory(asked_mb)
    told: dict[str, float] | dict[str, str]
    try:
        told = probe(asked_path, asked_runtime, asked_threads, (asked_hw[0], asked_hw[1]))
    except InputError as refusal:
        told = {REFUSED: str(refusal)}
    print("\n" + json.dumps(told))
