"""TFLite files on an emulated Arm core: the arithmetic of a phone's CPU on a computer that is none.

LiteRT's published aarch64 wheel runs under QEMU's user emulation. XNNPACK then picks the kernels that it
would pick on a phone with that core, so the bytes that come out are those of its Arm code. How long it
takes says nothing about an Arm core: it is never called latency.
"""

from .cores import CORES, Core
from .folder import default_folder, prepare_folder, why_unavailable
from .process import ArmInterpreter, ArmProcess, start_core

__all__ = [
    "CORES",
    "ArmInterpreter",
    "ArmProcess",
    "Core",
    "default_folder",
    "prepare_folder",
    "start_core",
    "why_unavailable",
]
