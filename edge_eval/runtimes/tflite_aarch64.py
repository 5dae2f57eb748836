"""TFLite files on LiteRT's Arm code, on an emulated core: its numbers, not its time."""

from pathlib import Path
from typing import Any

from ..arm import ArmInterpreter, ArmProcess, default_folder, start_core
from .tflite import TFLiteRunner


def open_tflite_aarch64(
    path: Path, *, runtime: str, core: str, threads: int, input_hw: tuple[int, int] | None = None
) -> TFLiteRunner:
    """A runner for a TFLite file on an emulated Arm core, with XNNPACK's kernels for that core.

    Args:
        path: the file.
        runtime: row of `RUNTIMES` that asks.
        core: row of `arm.CORES`.
        threads: CPU threads.
        input_hw: the only size to take; None: any size that the file permits.

    Raises:
        InputError: as `open_tflite`, or the core cannot be emulated here.
    """
    processes: list[ArmProcess] = []

    def make(model: Path, count: int) -> Any:
        if not processes:
            processes.append(start_core(core, folder=default_folder()))
        return ArmInterpreter(processes[0], model.read_bytes(), threads=count)

    return TFLiteRunner(path, make, runtime=runtime, threads=threads, input_hw=input_hw)
