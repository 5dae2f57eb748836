"""LiteRT's interpreter behind a pipe: the side that runs on the emulated core, and the messages of both.

This file is run as a script by the Arm Python, beside which there is only NumPy and LiteRT, so it imports
nothing of ours. A message is a JSON object of a known length, and arrays after it:

    8 bytes (length), JSON with "arrays": [[dtype, shape], ...], the arrays' bytes one after the other
"""

import json
import os
import struct
import sys
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

CALLS = (
    "allocate_tensors",
    "get_input_details",
    "get_output_details",
    "get_tensor",
    "invoke",
    "resize_tensor_input",
    "set_tensor",
    "_get_ops_details",
)
"""Methods of the interpreter that can be called from the other side."""

KERNEL_ERRORS = {"RuntimeError": RuntimeError, "ValueError": ValueError}
"""What the interpreter raises, raised again on the other side."""

_LENGTH = struct.Struct("<Q")


def write_message(stream: IO[bytes], message: dict[str, Any], arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Send one message and its arrays."""
    described = [[array.dtype.str, list(array.shape)] for array in arrays]
    text = json.dumps({**message, "arrays": described}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in arrays:
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """Wait for one message and its arrays.

    Raises:
        EOFError: the other side is gone.
    """
    message: dict[str, Any] = json.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]))
    arrays = []
    for name, shape in message.pop("arrays"):
        dtype = np.dtype(name)
        data = _exactly(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays.append(np.frombuffer(data, dtype).reshape(shape))
    return message, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"{len(data)} of {size} bytes")
    return data


def plain(value: Any) -> Any:
    """What the interpreter tells of its tensors and operations, as JSON can hold it; types by name."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    return np.dtype(value).name if isinstance(value, type) else value


def serve(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    """Answer calls until the other side closes the pipe."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = None
    write_message(stdout, {"ready": list(os.uname())[-1]}, [])
    while True:
        try:
            message, arrays = read_message(stdin)
        except EOFError:
            return
        try:
            if message["call"] == "open":
                interpreter = Interpreter(model_content=arrays[0].tobytes(), num_threads=message["threads"])
                result: Any = None
            else:
                result = getattr(interpreter, message["call"])(*message["args"], *arrays)
        except tuple(KERNEL_ERRORS.values()) as error:
            kind = "ValueError" if isinstance(error, ValueError) else "RuntimeError"
            write_message(stdout, {"error": kind, "text": str(error)}, [])
            continue
        if isinstance(result, np.ndarray):
            write_message(stdout, {"result": None}, [result])
        else:
            write_message(stdout, {"result": plain(result)}, [])


def main() -> None:
    """Serve over the process's pipes; what LiteRT prints goes to standard error."""
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, stdout)


if __name__ == "__main__":
    main()
