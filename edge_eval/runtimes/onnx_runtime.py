"""ONNX files on ONNX Runtime's CPU kernels."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from .planar import PlanarRunner

ERRORS_ONLY = 3


class OnnxRunner(PlanarRunner):
    """An ONNX file with float32 planes in and out; inside it may hold integers."""

    def __init__(self, path: Path, *, threads: int, input_hw: tuple[int, int] | None = None) -> None:
        self._session = _session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise InputError(
                f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; one image of float32 in and "
                "one out is accepted"
            )
        self._names = inputs[0].name, outputs[0].name
        shape = tuple(side if isinstance(side, int) else None for side in inputs[0].shape)
        super().__init__(runtime="onnxruntime", what=str(path), shape=shape, input_hw=input_hw)

    def invoke(self) -> None:
        """Run on the loaded image."""
        (self._output,) = self._session.run([self._names[1]], self._feed)

    def _put(self, lr_nchw: NDArray[np.float32]) -> None:
        self._feed = {self._names[0]: lr_nchw}

    def _get(self) -> NDArray[Any]:
        result: NDArray[Any] = self._output
        return result


def open_onnx(path: Path, *, threads: int, input_hw: tuple[int, int] | None = None) -> OnnxRunner:
    """A runner for an ONNX file.

    Args:
        path: the file.
        threads: CPU threads.
        input_hw: the only size to take; None: any size that the file permits.

    Raises:
        InputError: not a whole ONNX file, not one image of float32 in and one out, or another size.
    """
    return OnnxRunner(path, threads=threads, input_hw=input_hw)


def onnx_ops(path: Path) -> dict[str, int]:
    """How often each operation stands in an ONNX file, most frequent first.

    Raises:
        InputError: onnx is not installed, or it is no ONNX file.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError("onnx is not installed; install span-edge[compare]") from error
    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except DecodeError as error:
        raise InputError(f"{path} is no ONNX file: {error}") from error
    return dict(Counter(node.op_type for node in graph.node if node.op_type != "Constant").most_common())


def _session(path: Path, threads: int) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    broken = (errors.InvalidProtobuf, errors.InvalidGraph, errors.Fail, errors.NoSuchFile)
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except broken as error:
        raise InputError(f"{path} cannot be run by onnxruntime: {' '.join(str(error).split())}") from error
