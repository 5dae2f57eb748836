"""Where an unfinished search or training keeps the network that it started from; needs no torch to say so."""

from pathlib import Path

SUFFIX = ".start.safetensors"
"""What is added to the state's name."""


def start_path(state: Path) -> Path:
    """The file beside `state`."""
    return state.with_name(state.stem + SUFFIX)
