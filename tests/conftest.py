"""Fixtures for all tests: where shared checkpoints and images are, and small networks with known weights."""

import os
import signal
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SPAN_EDGE_DATA", ROOT.parent / "shared")).resolve()


def pytest_configure(config: pytest.Config) -> None:
    """Give every process one thread where several run side by side, and Ctrl-C its meaning.

    Two workers would fight for two cores. A shell starts jobs in the background with SIGINT ignored.
    """
    if os.environ.get("PYTEST_XDIST_WORKER"):
        torch.set_num_threads(1)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of shared checkpoints; the test is skipped where it is absent."""
    return _shared("weights")


@pytest.fixture(scope="session")
def shared_images() -> Path:
    """The folder of shared test sets (Set5, Set14, B100, BSDS400); the test is skipped where it is absent."""
    return _shared("images")


def _shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}: set SPAN_EDGE_DATA to the folder that holds the shared {name}")
    return folder
