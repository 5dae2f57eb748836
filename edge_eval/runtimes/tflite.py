"""TFLite files on this host's CPU, with XNNPACK, with TFLite's own kernels, or with its reference kernels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.quiet import quiet
from models.errors import InputError

from ..runner import FloatImage, require_image, scale_between

MakeInterpreter = Callable[[Path, int], Any]

KERNEL_ERRORS = (RuntimeError, ValueError)
"""What the interpreter raises on a broken file, an operation it lacks, or a size that does not go through."""

PROBE_HW = ((16, 24), (20, 16))
"""Two sizes that tell whether a file goes at sizes other than its own."""

INTEGER_PIXELS = (np.uint8, np.int8)


@dataclass(frozen=True, kw_only=True)
class Port:
    """The input or output tensor of a file; `real = (stored - zero_point) * scale` for integers."""

    index: int
    dtype: type[np.generic]
    scale: float
    zero_point: int

    @classmethod
    def of(cls, details: Mapping[str, Any], path: Path) -> "Port":
        """Read it off what the interpreter tells.

        Raises:
            InputError: neither float32 nor 8-bit with a scale.
        """
        dtype = details["dtype"]
        scale, zero_point = details["quantization"]
        if dtype is not np.float32 and (dtype not in INTEGER_PIXELS or not scale):
            raise InputError(
                f"{path}: tensor {details['name']!r} holds {np.dtype(dtype).name}; images go in and out as "
                "float32, or as uint8 or int8 with a scale"
            )
        return cls(index=details["index"], dtype=dtype, scale=float(scale), zero_point=int(zero_point))

    def stored(self, image: FloatImage) -> NDArray[Any]:
        """The image as the tensor holds it: (1, H, W, C)."""
        if self.dtype is np.float32:
            return np.ascontiguousarray(image[None], np.float32)
        limits = np.iinfo(self.dtype)  # type: ignore[type-var]
        levels = np.rint(image[None].astype(np.float64) / self.scale) + self.zero_point
        stored: NDArray[Any] = np.clip(levels, limits.min, limits.max).astype(self.dtype)
        return stored

    def real(self, tensor: NDArray[Any]) -> FloatImage:
        """The image that the tensor holds: (H, W, C)."""
        if self.dtype is np.float32:
            return np.array(tensor[0], np.float32)
        real = (tensor[0].astype(np.float64) - self.zero_point) * self.scale
        image: FloatImage = real.astype(np.float32)
        return image


class TFLiteRunner:
    """A TFLite file with one image in and one image out.

    Attributes:
        native_hw: the size that the file was made for; None where it states none.
        outside: operations that no delegate took over, in order; empty where XNNPACK runs everything, None
            where the runtime does not tell.
        delegates: how many delegates stand in the graph.
    """

    def __init__(
        self,
        path: Path,
        make: MakeInterpreter,
        *,
        runtime: str,
        threads: int,
        input_hw: tuple[int, int] | None = None,
    ) -> None:
        self.path = path
        self.runtime = runtime
        self.threads = threads
        self._make = make
        self._interpreter = self._opened()
        own = self._single(self._interpreter.get_input_details(), "input")
        self._in = Port.of(own, path)
        self._out = Port.of(self._single(self._interpreter.get_output_details(), "output"), path)
        self.channels = int(own["shape"][3])
        free = -1 in own["shape_signature"][1:3]
        self.native_hw = None if free else (int(own["shape"][1]), int(own["shape"][2]))
        self.scale = self._resized(input_hw or self.native_hw or PROBE_HW[0])
        self.input_hw = input_hw or (None if free or self._flexible() else self.native_hw)
        self.delegates, self.outside = self._delegation()

    @property
    def delegated(self) -> bool:
        """Whether a delegate took over anything; `outside` has what it left."""
        return self.delegates > 0

    def run(self, image: FloatImage) -> FloatImage:
        """Upscale one image; see `Runner.run`. Where the file permits it, it is resized to the image."""
        self.load(image)
        self.invoke()
        return self._out.real(self._interpreter.get_tensor(self._out.index))

    def load(self, image: FloatImage) -> None:
        """Write an image into the input tensor, quantized if the file takes integers."""
        require_image(image, channels=self.channels, input_hw=self.input_hw)
        if self._hw != image.shape[:2]:
            self._resized((image.shape[0], image.shape[1]))
        self._interpreter.set_tensor(self._in.index, self._in.stored(image))

    def invoke(self) -> None:
        """Run on the loaded image."""
        self._interpreter.invoke()

    def _opened(self) -> Any:
        if not self.path.is_file():
            raise InputError(f"{self.path} does not exist; give a .tflite file")
        try:
            with quiet():
                interpreter = self._make(self.path, self.threads)
                interpreter.allocate_tensors()
        except KERNEL_ERRORS as error:
            raise InputError(
                f"{self.path} cannot be run by {self.runtime}: {' '.join(str(error).split())}"
            ) from error
        return interpreter

    def _single(self, details: list[Mapping[str, Any]], what: str) -> Mapping[str, Any]:
        if len(details) != 1 or len(details[0]["shape"]) != 4 or details[0]["shape"][3] not in (1, 3):
            shapes = [tuple(int(side) for side in tensor["shape"]) for tensor in details]
            raise InputError(
                f"{self.path}: the {what}s are {shapes}; one image (1, H, W, 1 or 3) is accepted"
            )
        return details[0]

    def _resized(self, input_hw: tuple[int, int]) -> int:
        """Make the file take that size, and say how many times larger its output is."""
        try:
            self._interpreter.resize_tensor_input(self._in.index, [1, *input_hw, self.channels])
            self._interpreter.allocate_tensors()
        except KERNEL_ERRORS as error:
            raise InputError(
                f"{self.path} does not go at {input_hw[0]}x{input_hw[1]} (HxW): "
                f"{' '.join(str(error).split())}"
            ) from error
        self._hw = input_hw
        result = self._interpreter.get_output_details()[0]["shape"]
        return scale_between(input_hw, (int(result[1]), int(result[2])), what=str(self.path))

    def _flexible(self) -> bool:
        """Whether other sizes go through the whole graph; the file is as before afterwards."""
        own_hw = self._hw
        try:
            for probe_hw in PROBE_HW:
                if self._resized(probe_hw) != self.scale:
                    return False
                self._interpreter.invoke()
        except (InputError, *KERNEL_ERRORS):
            return False
        finally:
            self._interpreter = self._opened()
            self._resized(own_hw)
        return True

    def _delegation(self) -> tuple[int, tuple[str, ...] | None]:
        """How many delegates there are, and which operations that the output needs run outside them.

        The list of operations keeps those that a delegate replaced, so the graph is walked from its output.
        """
        operations = self._interpreter._get_ops_details()
        makers = {int(tensor): op for op in operations for tensor in op["outputs"]}
        pending, seen = [self._out.index], set()
        while pending:
            op = makers.get(pending.pop())
            if op is None or op["index"] in seen:
                continue
            seen.add(op["index"])
            pending.extend(int(tensor) for tensor in op["inputs"])
        run = [op["op_name"] for op in operations if op["index"] in seen]
        return run.count("DELEGATE"), tuple(name for name in run if name != "DELEGATE")


def open_tflite(
    path: Path, *, runtime: str, threads: int, input_hw: tuple[int, int] | None = None
) -> TFLiteRunner:
    """A runner for a TFLite file on LiteRT's interpreter.

    Args:
        path: the file.
        runtime: `tflite` (XNNPACK), `tflite-plain` (TFLite's own kernels) or `tflite-reference`.
        threads: CPU threads.
        input_hw: the only size to take; None: any size that the file permits.

    Raises:
        InputError: not a TFLite file, not one image in and one out, an operation the runtime lacks, or a
            size that the file does not permit.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = {
        "tflite": OpResolverType.BUILTIN,
        "tflite-plain": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "tflite-reference": OpResolverType.BUILTIN_REF,
    }

    def make(model: Path, count: int) -> Any:
        return Interpreter(
            model_path=str(model), num_threads=count, experimental_op_resolver_type=kernels[runtime]
        )

    return TFLiteRunner(path, make, runtime=runtime, threads=threads, input_hw=input_hw)


def open_tensorflow(path: Path, *, threads: int, input_hw: tuple[int, int] | None = None) -> TFLiteRunner:
    """A runner for a TFLite file on the interpreter inside TensorFlow; otherwise as `open_tflite`."""
    import warnings

    with quiet():
        import tensorflow as tf

    def make(model: Path, count: int) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
            return tf.lite.Interpreter(model_path=str(model), num_threads=count)

    return TFLiteRunner(path, make, runtime="tensorflow", threads=threads, input_hw=input_hw)
