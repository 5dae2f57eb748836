"""What a figure was measured on: machine, system, versions. Every JSON document carries it."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from convert.artifact import tool_versions

from .runtimes.table import available_cores

CPUINFO = Path("/proc/cpuinfo")
CPUINFO_NAMES = ("model name", "Hardware", "Processor")
"""Keys that name the CPU in /proc/cpuinfo: x86, then ARM."""


def environment() -> dict[str, Any]:
    """This machine and this installation, as JSON-ready data; the load is that of now."""
    return {
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "threads": os.cpu_count() or 1,
        "usable_threads": available_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "machine": platform.machine(),
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
        "versions": tool_versions(),
    }


def cpu_name() -> str:
    """The CPU's name as its maker gives it; its architecture where the system keeps no name."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if CPUINFO.is_file():
        lines = dict(line.split(":", 1) for line in CPUINFO.read_text().splitlines() if ":" in line)
        entries = {key.strip(): value.strip() for key, value in lines.items()}
        found = [entries[name] for name in CPUINFO_NAMES if entries.get(name)]
        if found:
            return found[0]
    return platform.processor() or platform.machine()
