"""What a device can do at most: published figures in `profiles/`, or this computer's, measured."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.errors import InputError

from ..environment import cpu_name
from ..floor import MACS, PRODUCTS, SIDE
from ..runtimes.pytorch import torch_threads

FOLDER = Path(__file__).with_name("profiles")
HOST = "host"
COPY_BYTES = 1 << 27
REPEATS = 7
GIGA = 1e9


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A processor's peaks; None where no public figure is known, which is never filled in by guessing.

    Attributes:
        name: of the file in `profiles/`, or `host`.
        what: the processor, for people.
        peak_gops: additions and multiplications per second, in 10^9, by precision (`PRECISIONS`).
        bandwidth_gb_s: between memory and processor, in 10^9 bytes per second.
        sources: where each figure is from, and how it follows.
    """

    name: str
    what: str
    peak_gops: Mapping[str, float | None]
    bandwidth_gb_s: float | None
    sources: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The profile as JSON-ready data."""
        return {
            "name": self.name,
            "what": self.what,
            "peak_gops": dict(self.peak_gops),
            "bandwidth_gb_s": self.bandwidth_gb_s,
            "sources": dict(self.sources),
        }


def known_profiles() -> tuple[str, ...]:
    """The names of all profiles."""
    return (HOST, *sorted(path.stem for path in FOLDER.glob("*.json")))


def read_profile(name: str) -> Profile:
    """A profile of `profiles/`.

    Raises:
        InputError: there is none of that name.
    """
    path = FOLDER / f"{name}.json"
    if name not in known_profiles() or not path.is_file():
        raise InputError(f"there is no profile {name!r}; there are {', '.join(known_profiles())}")
    return Profile(name=name, **json.loads(path.read_text(encoding="utf-8")))


def measure_host(*, threads: int) -> Profile:
    """This computer's rates, measured now: plain matrix products in float32 and INT8, and a copy in memory.

    Args:
        threads: CPU threads. The copy uses one.
    """
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    operations = 2 * MACS
    with torch_threads(threads), torch.inference_mode():
        rates = {
            "fp32": operations / _seconds(PRODUCTS["fp32"]()) / GIGA,
            "int8": operations / _seconds(PRODUCTS["int8"]()) / GIGA,
            "fp16": None,
        }
    bandwidth = 2 * COPY_BYTES / _seconds(lambda: np.copyto(target, source)) / GIGA
    product = f"measured now: {SIDE}x{SIDE} matrix product of PyTorch, {threads} threads, median of {REPEATS}"
    return Profile(
        name=HOST,
        what=f"this computer: {cpu_name()}, {threads} threads",
        peak_gops=rates,
        bandwidth_gb_s=bandwidth,
        sources={
            "fp32": product,
            "int8": product,
            "fp16": "not measured: kernels on this computer compute in float32",
            "bandwidth_gb_s": f"measured now: copy of {COPY_BYTES >> 20} MiB, read and written, 1 thread",
        },
    )


def _seconds(work: Callable[[], object]) -> float:
    """Median time of `REPEATS` runs after one that does not count."""
    work()
    samples = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)
