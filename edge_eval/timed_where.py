"""Where times were measured, in words: on this computer, or on a device by its name."""

from collections.abc import Mapping, Sequence
from typing import Any

from .report_data import HostLatency

ON_DEVICE = "adb-"
"""What the runtimes of devices begin with."""

UNNAMED = "a device"


def device_name(environment: Mapping[str, Any], latencies: Sequence[HostLatency]) -> str | None:
    """The name of the device that times are of.

    Args:
        environment: of a document of results; `device` is there if it was one's.
        latencies: the times; their runtimes tell where the environment does not.

    Returns:
        Model, chip and serial number, as far as they are known; None for this computer's times.
    """
    device = environment.get("device")
    if device is None and not any(timed.runtime.startswith(ON_DEVICE) for timed in latencies):
        return None
    known = device if isinstance(device, Mapping) else {}
    return " ".join(str(known[key]) for key in ("model", "chip", "serial") if known.get(key)) or UNNAMED


def place_text(device: str | None) -> str:
    """Where it was, as it stands after `on`."""
    return "this host" if device is None else device


def note_text(device: str | None) -> str:
    """Whose times they are, as one line."""
    if device is None:
        return "times are this computer's, not a phone's"
    return f"times are the device's ({device}), by benchmark_model"
