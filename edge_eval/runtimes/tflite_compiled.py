"""TFLite files on LiteRT's newer CompiledModel, the interface that GPU and NPU delegates are reached by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runner import Runner
from .tflite import TFLiteRunner


class CompiledInterpreter:
    """A file's first signature on CompiledModel, under the names that `Interpreter` has.

    Tensors' numbers, scales and zero points are read off an interpreter that never runs: CompiledModel does
    not tell them.

    Raises:
        RuntimeError, ValueError: the file cannot be run.
    """

    def __init__(self, model: Path, *, threads: int) -> None:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
        from ai_edge_litert.options import CpuOptions, Options

        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        told = Interpreter(model_path=str(model), experimental_op_resolver_type=plain)
        self._input_details = [dict(details) for details in told.get_input_details()]
        self._output_details = [dict(details) for details in told.get_output_details()]
        options = Options(
            hardware_accelerators=HardwareAccelerator.CPU, cpu_options=CpuOptions(num_threads=threads)
        )
        self._model = CompiledModel.from_file(str(model), options=options)
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    @property
    def is_fully_accelerated(self) -> bool:
        """Whether XNNPACK took over every operation."""
        return bool(self._model.is_fully_accelerated())

    def allocate_tensors(self) -> None:
        """Make the buffers of the size that is set."""
        self._inputs = self._model.create_input_buffers(0)
        self._outputs = self._model.create_output_buffers(0)
        for details, shape in zip(self._output_details, self._shapes("output"), strict=True):
            details["shape"] = shape

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """As the interpreter's; sizes that the signature calls fixed may change too."""
        at = self._at(self._input_details, index)
        if tuple(self._input_details[at]["shape"]) == tuple(shape):
            return
        self._model.resize_input_tensor(at, [int(side) for side in shape], strict=False)
        self._input_details[at]["shape"] = np.array(shape, np.int32)

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        """As the interpreter's."""
        self._inputs[self._at(self._input_details, index)].write(value)

    def invoke(self) -> None:
        """As the interpreter's."""
        self._model.run_by_index(0, self._inputs, self._outputs)

    def get_tensor(self, index: int) -> NDArray[Any]:
        """As the interpreter's, for outputs."""
        at = self._at(self._output_details, index)
        shape, dtype = self._output_details[at]["shape"], self._output_details[at]["dtype"]
        values: NDArray[Any] = self._outputs[at].read(int(np.prod(shape)), dtype)
        return values.reshape(shape)

    def get_input_details(self) -> list[dict[str, Any]]:
        """As the interpreter's."""
        return self._input_details

    def get_output_details(self) -> list[dict[str, Any]]:
        """As the interpreter's."""
        return self._output_details

    def _shapes(self, which: str) -> list[NDArray[np.int32]]:
        """Shapes of the signature's inputs or outputs, in the file's order."""
        ((key, names),) = list(self._model.get_signature_list().items())[:1]
        tell = getattr(self._model, f"get_{which}_tensor_details")
        told = tell(key)
        return [np.array(told[name]["shape"], np.int32) for name in names[f"{which}s"]]

    @staticmethod
    def _at(details: list[dict[str, Any]], index: int) -> int:
        return next(at for at, one in enumerate(details) if one["index"] == index)


class CompiledRunner(TFLiteRunner):
    """A TFLite file on CompiledModel. It tells whether everything is delegated, not what is left."""

    outside: tuple[str, ...] | None

    def _delegation(self) -> tuple[int, tuple[str, ...] | None]:
        interpreter: CompiledInterpreter = self._interpreter
        return 1, () if interpreter.is_fully_accelerated else None


def open_tflite_compiled(path: Path, *, threads: int, input_hw: tuple[int, int] | None = None) -> Runner:
    """A runner for a TFLite file on CompiledModel, XNNPACK on the CPU; otherwise as `open_tflite`.

    Raises:
        InputError: as `open_tflite`.
    """
    return CompiledRunner(
        path,
        lambda model, count: CompiledInterpreter(model, threads=count),
        runtime="tflite-compiled",
        threads=threads,
        input_hw=input_hw,
    )
