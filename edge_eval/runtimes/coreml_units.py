"""The processors that Core ML can be told to use, and the runtimes that do so."""

from collections.abc import Mapping
from typing import Literal

Units = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]
"""Core ML's own names; NE is the Neural Engine."""

RUNTIME_OF_UNITS: Mapping[Units, str] = {
    "ALL": "coreml",
    "CPU_ONLY": "coreml-cpu",
    "CPU_AND_GPU": "coreml-cpu-gpu",
    "CPU_AND_NE": "coreml-cpu-ne",
}
"""The rows of `RUNTIMES` that run Core ML on them."""
