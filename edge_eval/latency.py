"""How long networks take on this host, measured so that they can be compared.

Every network is opened once; then they take turns, a few runs each per round (`turns`), so that a host that
slows down or is disturbed slows all of them. What is timed is the bare run; pixels are converted outside of
it. Opening time and memory come from a fresh process per network. It is this host's latency: a phone's
has to come from a phone. `sweep` does this over sizes and thread counts.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from models.errors import InputError
from models.files import size_of
from models.progress import Progress, silent

from .latency_probe import REFUSED
from .quantized_file import is_quantized, load_quantized_checkpoint
from .runtimes.table import kind_of, open_runner

DEFAULT_HW = (128, 128)
"""Size for networks that have none of their own."""

FREE_PART = 0.85
"""Of the memory that is free, for files that are open side by side."""

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
        recipe: that the file was made by, `fp32` for a float checkpoint; None where it does not tell.
        compared: what made the file, if it is there to be compared with: a row of `compare.RIVALS`.
        native_hw: (H, W) that the file was made for; another `input_hw` is reached by resizing its input.
        output_hw: (H, W) of the result.
        macs: multiply-accumulates of one run.
        floor_ms: what these take at the rates of this host's matrix products, see `floor`.
        floor_ratio: `median_ms` over `floor_ms`.
        float_row: artifact and runtime of the straight float file of the same network, in the same turns.
        float_ratio: `median_ms` over its median.
        quality: what it costs in quality, where that was asked for.
        profile: time per operation and per layer, where that was asked for.
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
    recipe: str | None = None
    compared: str | None = None
    native_hw: tuple[int, int] | None = None
    output_hw: tuple[int, int] | None = None
    macs: int | None = None
    floor_ms: float | None = None
    floor_ratio: float | None = None
    float_row: str | None = None
    float_ratio: float | None = None
    quality: Mapping[str, Any] | None = None
    profile: Mapping[str, Any] | None = None

    @property
    def fps(self) -> float | None:
        """Frames per second at the median."""
        return 1e3 / self.median_ms if self.median_ms else None

    @property
    def ms_per_output_mp(self) -> float | None:
        """The median over 10^6 pixels of the result."""
        if not self.median_ms or not self.output_hw:
            return None
        return 1e6 * self.median_ms / (self.output_hw[0] * self.output_hw[1])

    def to_json(self) -> dict[str, Any]:
        """An entry of `results` of `bench --json`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {"fps": self.fps, "ms_per_output_mp": self.ms_per_output_mp}
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
    from .sweep import Sweep, run_sweep
    from .timed_file import timed_file

    sweep = Sweep(
        sizes=(input_hw,),
        threads=() if threads is None else (threads,),
        warmup=warmup,
        runs=runs,
        rounds=rounds,
        floor=False,
        strict=True,
    )
    files = [timed_file(Path(model), runtime) for model in models]
    return list(run_sweep(files, sweep, progress=progress).latencies)


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


def _onnx_ops(path: Path) -> dict[str, int]:
    from .runtimes.onnx_runtime import onnx_ops

    return onnx_ops(path)


def _openvino_ops(path: Path) -> dict[str, int]:
    from .runtimes.openvino_runtime import openvino_ops

    return openvino_ops(path)


_COUNTERS = {
    "tflite": _tflite_ops,
    "coreml": _mil_ops,
    "checkpoint": _torch_ops,
    "onnx": _onnx_ops,
    "openvino": _openvino_ops,
}


def file_bytes(path: Path) -> int:
    """The size of a file in bytes, with that of the weights beside an OpenVINO graph."""
    beside = path.with_suffix(".bin") if path.suffix == ".xml" else None
    return size_of(path) + (size_of(beside) if beside and beside.is_file() else 0)


def native_hw(path: Path, runtime: str) -> tuple[int, int]:
    """The size that a file was made for, or `DEFAULT_HW`."""
    if kind_of(path) == "checkpoint":
        return DEFAULT_HW
    hw: tuple[int, int] | None = getattr(open_runner(path, runtime=runtime, threads=1), "native_hw", None)
    return hw or DEFAULT_HW


def free_mb() -> float:
    """The memory that may be taken, in MiB."""
    available: int = psutil.virtual_memory().available
    return FREE_PART * available / 2**20


def probe_fresh(path: Path, runtime: str, threads: int, input_hw: tuple[int, int]) -> dict[str, float]:
    """Opening time and memory in a process of its own: `init_ms`, `peak_rss_mb`, `base_rss_mb`.

    It gets `FREE_PART` of the memory that is free, and fails beyond.

    Raises:
        InputError: the process failed; its last words are given.
    """
    free = free_mb()
    asked = json.dumps([str(path.resolve()), runtime, threads, list(input_hw), free])
    command = [sys.executable, "-m", "edge_eval.latency_probe", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        raise InputError(
            f"{path} at {input_hw[0]}x{input_hw[1]} was killed by signal {-done.returncode} in a fresh "
            f"process with {runtime}, most likely for want of memory ({free:.0f} MiB were to be had); "
            "give a smaller size"
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(
            f"{path} could not be opened in a fresh process with {runtime}: {last} "
            f"({free:.0f} MiB of memory were to be had)"
        )
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    if REFUSED in figures:
        raise InputError(f"{figures[REFUSED]} ({free:.0f} MiB of memory were to be had)")
    return figures
