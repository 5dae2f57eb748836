"""What this host can do at most, as measured: plain matrix products that take turns with the networks."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .runtimes.pytorch import torch_threads
from .turns import Contender

SIDE = 1024
"""Of the square matrices. They fit into the caches of today's CPUs, and threads have enough to do."""

MACS = SIDE**3
FLOAT_KERNELS = {"fp16": "fp32"}
"""Precisions that CPU kernels here compute in another: fp16 files hold fp16 filters, and compute in fp32."""


def _float(dtype: torch.dtype) -> Callable[[], object]:
    left, right = torch.randn(SIDE, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    return lambda: torch.mm(left, right)


def _int8() -> Callable[[], object]:
    left, right = (torch.randint(-128, 128, (SIDE, SIDE), dtype=torch.int8) for _ in range(2))
    return lambda: torch._int_mm(left, right)


PRODUCTS: Mapping[str, Callable[[], Callable[[], object]]] = {
    "fp32": lambda: _float(torch.float32),
    "bf16": lambda: _float(torch.bfloat16),
    "int8": _int8,
}
"""Makes the product of a precision: `torch.mm`, or `torch._int_mm` (int8 in, int32 out)."""


@dataclass(frozen=True, kw_only=True)
class Floor:
    """The rates of this host's plain matrix products, in one group of rows that took turns with them.

    Attributes:
        threads: CPU threads.
        input_hw: size of the group's rows.
        gmacs_per_s: 10^9 multiply-accumulates per second by precision: `MACS` over the median time.
        samples_ms: times of each product.
    """

    threads: int
    input_hw: tuple[int, int]
    gmacs_per_s: Mapping[str, float]
    samples_ms: Mapping[str, tuple[float, ...]]

    def ms(self, macs: Mapping[str, int] | None) -> float | None:
        """Milliseconds that so many multiply-accumulates take at these rates.

        Args:
            macs: by precision; None where they are not known.

        Returns:
            None where they are not known, or a precision has no product here.
        """
        if not macs:
            return None
        rates = {name: self.gmacs_per_s.get(FLOAT_KERNELS.get(name, name)) for name in macs}
        if None in rates.values():
            return None
        return sum(1e-6 * macs[name] / rate for name, rate in rates.items() if rate is not None)

    def to_json(self) -> dict[str, Any]:
        """An entry of `floor` of `bench --json`."""
        return {
            "threads": self.threads,
            "input_hw": list(self.input_hw),
            "matrix_side": SIDE,
            "gmacs_per_s": dict(self.gmacs_per_s),
            "samples_ms": {name: list(times) for name, times in self.samples_ms.items()},
        }


def products(precisions: Sequence[str], *, threads: int, most_s: float | None = None) -> dict[str, Contender]:
    """A contender for the product of each precision that has one; names of files come in, so do `fp16`."""
    wanted = dict.fromkeys(FLOAT_KERNELS.get(name, name) for name in precisions)
    return {name: _contender(name, threads, most_s) for name in wanted if name in PRODUCTS}


def floor_of(done: Mapping[str, Contender], *, threads: int, input_hw: tuple[int, int]) -> Floor:
    """The rates that contenders of `products` came to."""
    return Floor(
        threads=threads,
        input_hw=input_hw,
        gmacs_per_s={name: 1e-6 * MACS / statistics.median(one.samples_ms) for name, one in done.items()},
        samples_ms={name: tuple(one.samples_ms) for name, one in done.items()},
    )


def _contender(precision: str, threads: int, most_s: float | None) -> Contender:
    multiply = PRODUCTS[precision]()

    def invoke() -> None:
        with torch.inference_mode(), torch_threads(threads):
            multiply()

    return Contender(name=f"floor {precision}", invoke=invoke, most_s=most_s)
