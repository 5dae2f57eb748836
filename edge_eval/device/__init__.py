"""Latency of TFLite files on an Android device, through `adb` and TensorFlow Lite's own `benchmark_model`."""

from .adb import Device, find_device
from .bench import DELEGATES, DeviceLatency, bench_on_device, planned_on_device
from .transcript import Transcript, read_transcript

__all__ = [
    "DELEGATES",
    "Device",
    "DeviceLatency",
    "Transcript",
    "bench_on_device",
    "find_device",
    "planned_on_device",
    "read_transcript",
]
