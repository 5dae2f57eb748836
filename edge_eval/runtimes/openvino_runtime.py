"""OpenVINO graphs on OpenVINO's CPU plugin."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError

from .planar import PlanarRunner

PRECISION = "INFERENCE_PRECISION_HINT"
HINTS: dict[str, str | None] = {"openvino": "f32", "openvino-bf16": None}
"""Precision of float operations by runtime; None leaves the choice to OpenVINO, which prefers bfloat16."""


class OpenVinoRunner(PlanarRunner):
    """An OpenVINO graph with float32 planes in and out; inside it may hold integers.

    It is compiled anew for each size of image, as OpenVINO is fastest at a size that it knows.
    """

    def __init__(
        self, path: Path, *, runtime: str, threads: int, input_hw: tuple[int, int] | None = None
    ) -> None:
        self._core = _core()
        self._model = _read(self._core, path)
        if len(self._model.inputs) != 1 or len(self._model.outputs) != 1:
            raise InputError(
                f"{path} has {len(self._model.inputs)} inputs and {len(self._model.outputs)} outputs; one "
                "image in and one out is accepted"
            )
        hint = HINTS[runtime]
        self._config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        if hint is not None:
            self._config[PRECISION] = hint
        self._shape: tuple[int, ...] = ()
        sides = self._model.input(0).partial_shape
        shape = tuple(side.get_length() if side.is_static else None for side in sides)
        super().__init__(runtime=runtime, what=str(path), shape=shape, input_hw=input_hw)
        chosen = self._compiled.get_property(PRECISION).get_type_name()
        if hint is None and chosen != "bf16":
            raise InputError(
                f"OpenVINO computes in {chosen} on this CPU, which has no bfloat16; take the runtime openvino"
            )

    def invoke(self) -> None:
        """Run on the loaded image."""
        self._request.infer()

    def _put(self, lr_nchw: NDArray[np.float32]) -> None:
        if lr_nchw.shape != self._shape:
            self._model.reshape(list(lr_nchw.shape))
            self._compiled = self._core.compile_model(self._model, "CPU", self._config)
            self._request = self._compiled.create_infer_request()
            self._shape = lr_nchw.shape
        self._request.get_input_tensor(0).data[:] = lr_nchw

    def _get(self) -> NDArray[Any]:
        result: NDArray[Any] = self._request.get_output_tensor(0).data
        return result


def open_openvino(
    path: Path, *, runtime: str, threads: int, input_hw: tuple[int, int] | None = None
) -> OpenVinoRunner:
    """A runner for an OpenVINO graph (`.xml`, its weights beside it).

    Args:
        path: the graph.
        runtime: row of `HINTS`.
        threads: CPU threads.
        input_hw: the only size to take; None: any size that the graph permits.

    Raises:
        InputError: not a whole graph, not one image in and one out, another size, or no bfloat16 here.
    """
    return OpenVinoRunner(path, runtime=runtime, threads=threads, input_hw=input_hw)


def openvino_ops(path: Path) -> dict[str, int]:
    """How often each operation stands in an OpenVINO graph, most frequent first; constants are left out.

    Raises:
        InputError: it is not a whole graph.
    """
    names = (op.get_type_name() for op in _read(_core(), path).get_ops())
    left_out = ("Constant", "Parameter", "Result")
    return dict(Counter(name for name in names if name not in left_out).most_common())


def _core() -> Any:
    import openvino

    return openvino.Core()


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(str(path))
    except RuntimeError as error:
        raise InputError(
            f"{path} cannot be run by openvino: {str(error).strip().splitlines()[-1]}"
        ) from error
