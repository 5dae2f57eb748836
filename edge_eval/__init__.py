"""Runners, the Core ML emulator, metrics, benchmarks, reports, and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .datasets import Dataset, Sample, open_dataset
    from .runner import Runner
    from .runtimes.table import RUNTIMES, open_runner

__all__ = ["RUNTIMES", "Dataset", "Runner", "Sample", "open_dataset", "open_runner"]

_HOME = {
    "RUNTIMES": "runtimes.table",
    "Dataset": "datasets",
    "Runner": "runner",
    "Sample": "datasets",
    "open_dataset": "datasets",
    "open_runner": "runtimes.table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
