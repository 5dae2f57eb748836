"""The interpreter of an emulated core, used as if it were here."""

import subprocess
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from .cores import CORES
from .folder import SITE, core_root, qemu, why_unavailable
from .worker import KERNEL_ERRORS, read_message, write_message

WORKER = Path(__file__).with_name("worker.py")
LAST_WORDS = 3


class ArmProcess:
    """A process that serves `worker.CALLS`; it ends with this object.

    Args:
        command: what starts it.
        what: what it is, for messages.

    Raises:
        InputError: it does not come up.
    """

    def __init__(self, command: Sequence[str], *, what: str) -> None:
        self._what = what
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self._finalizer = weakref.finalize(self, _stop, self._process, self._log)
        self.machine: str = self._answer()[0]["ready"]

    def call(self, name: str, *args: Any, arrays: Sequence[NDArray[Any]] = (), **named: Any) -> Any:
        """The result of a method of the interpreter over there: an array, or plain data.

        Raises:
            InputError: the process has ended.
            RuntimeError, ValueError: the interpreter raised it.
        """
        assert self._process.stdin is not None
        try:
            write_message(self._process.stdin, {"call": name, "args": args, **named}, arrays)
        except OSError as error:
            raise self._ended() from error
        message, results = self._answer()
        if "error" in message:
            raise KERNEL_ERRORS[message["error"]](message["text"])
        return results[0] if results else message["result"]

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def _answer(self) -> tuple[dict[str, Any], list[NDArray[Any]]]:
        assert self._process.stdout is not None
        try:
            return read_message(self._process.stdout)
        except EOFError as error:
            raise self._ended() from error

    def _ended(self) -> InputError:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        said = "; ".join([line.strip() for line in lines if line.strip()][-LAST_WORDS:])
        self.close()
        return InputError(f"{self._what} ended with exit code {code}: {said or 'it said nothing'}")


class ArmInterpreter:
    """The part of LiteRT's `Interpreter` that runners use, for one file on one process.

    Raises:
        RuntimeError, ValueError: the file cannot be run.
    """

    def __init__(self, process: ArmProcess, model: bytes, *, threads: int) -> None:
        self._process = process
        process.call("open", arrays=[np.frombuffer(model, np.uint8)], threads=threads)

    def allocate_tensors(self) -> None:
        """As the interpreter's."""
        self._process.call("allocate_tensors")

    def invoke(self) -> None:
        """As the interpreter's."""
        self._process.call("invoke")

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """As the interpreter's."""
        self._process.call("resize_tensor_input", index, list(shape))

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        """As the interpreter's."""
        self._process.call("set_tensor", index, arrays=[value])

    def get_tensor(self, index: int) -> NDArray[Any]:
        """As the interpreter's."""
        tensor: NDArray[Any] = self._process.call("get_tensor", index)
        return tensor

    def get_input_details(self) -> list[dict[str, Any]]:
        """As the interpreter's, in lists where that has arrays."""
        return [_typed(details) for details in self._process.call("get_input_details")]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As the interpreter's, in lists where that has arrays."""
        return [_typed(details) for details in self._process.call("get_output_details")]

    def _get_ops_details(self) -> list[dict[str, Any]]:
        details: list[dict[str, Any]] = self._process.call("_get_ops_details")
        return details


def start_core(core: str, *, folder: Path) -> ArmProcess:
    """LiteRT on an emulated core.

    Args:
        core: row of `CORES`.
        folder: made by `prepare_folder`.

    Raises:
        InputError: the core is unknown, QEMU or the folder is missing, or the process does not come up.
    """
    if core not in CORES:
        raise InputError(f"there is no core {core!r}; there are {', '.join(CORES)}")
    reason = why_unavailable(core, folder=folder)
    if reason:
        raise InputError(f"no {core} can be emulated here: {reason}")
    root = core_root(folder, core)
    python = next((root / "usr" / "bin").glob("python3.*"))
    emulator = [str(qemu()), "-cpu", f"{core}{CORES[core].switches}", "-L", str(root)]
    flags = ["-E", f"PYTHONPATH=/{SITE}", str(python), "-S", "-P", "-B"]
    return ArmProcess([*emulator, *flags, str(WORKER)], what=f"LiteRT on an emulated {core}")


def _typed(details: dict[str, Any]) -> dict[str, Any]:
    return {**details, "dtype": np.dtype(details["dtype"]).type}


def _stop(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    """Let the process end by itself, by closing its pipe; kill it where it does not."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                continue
    try:
        process.wait(timeout=2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    log.close()
