"""LiteRT's C interface, as far as profiling a file needs it.

It is declared in LiteRT's headers `litert/c/litert_compiled_model.h`, `litert_profiler.h`,
`litert_profiler_event.h`, `litert_opaque_options.h` and `litert_layout.h`. The library `libLiteRt.so` of the
package ai-edge-litert exports it; the layout of events is checked as they are read. A mistake here ends the
process, so that only `worker` uses this, in a process of its own.
"""

import ctypes
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path

CPU = 1
ELEMENT_TYPES = {"float32": 1, "int32": 2, "uint8": 3, "int16": 7, "int8": 9}
MOST_AXES = 8
MARK = 0xA5
ROOM = 512
"""Bytes kept ready for each event, far more than one takes, to see how many it does take."""

KERNEL_MODES = {"tflite": 0, "tflite-compiled": 0, "tflite-reference": 1, "tflite-plain": 2}
"""LiteRtCpuKernelMode by runtime: with delegate, reference kernels, built-in kernels."""

OPERATOR = 2
"""Event of an operation that LiteRT's own kernel ran; its first number is the operation's in the file."""

KERNEL = 4 | 8
"""Event of a delegate's kernel; its first number counts the kernels."""


class _Layout(ctypes.Structure):
    _fields_ = (
        ("rank_and_flag", c_uint32),
        ("dimensions", c_int32 * MOST_AXES),
        ("strides", c_uint32 * MOST_AXES),
    )


class _TensorType(ctypes.Structure):
    _fields_ = (("element_type", c_int), ("layout", _Layout))


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p),
        ("kind", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory_before", c_int64 * 3),
        ("memory_after", c_int64 * 3),
        ("number", c_uint64),
        ("other_number", c_uint64),
        ("source", c_int),
    )


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of the profiler: `kind` is a bit of `LiteRtProfilerEventType`."""

    tag: str
    kind: int
    elapsed_us: int
    number: int


@dataclass(frozen=True, kw_only=True)
class Port:
    """The image tensor at an end of the file."""

    shape: tuple[int, ...]
    dtype: str


class ProfiledModel:
    """A TFLite file on LiteRT's CompiledModel with its profiler; kept until the process ends.

    Args:
        library: `libLiteRt.so`.
        path: the file.
        runtime: row of `KERNEL_MODES`.
        threads: CPU threads.
        given: what the input is to be.
        got: what the output then is.

    Raises:
        RuntimeError: LiteRT refuses something, or lays events out otherwise than declared here.
    """

    def __init__(
        self, library: Path, path: Path, *, runtime: str, threads: int, given: Port, got: Port, own: Port
    ) -> None:
        self._library = ctypes.CDLL(str(library))
        self._kept: list[object] = []
        environment, model, options = c_void_p(), c_void_p(), c_void_p()
        self._call("LiteRtCreateEnvironment", 0, None, byref(environment))
        self._call("LiteRtCreateModelFromFile", environment, str(path).encode(), byref(model))
        self._call("LiteRtCreateOptions", byref(options))
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        mode = KERNEL_MODES[runtime]
        self._add(options, "xnnpack", f"num_threads = {threads}\nkernel_mode = {mode}\n")
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        self._model, self._profiler = c_void_p(), c_void_p()
        self._call("LiteRtCreateCompiledModel", environment, model, options, byref(self._model))
        if own.shape != given.shape:
            sides = (c_int * len(given.shape))(*given.shape)
            count = c_size_t(len(given.shape))
            first = c_size_t(0)
            name = "LiteRtCompiledModelResizeInputTensorNonStrict"
            self._call(name, self._model, first, first, sides, count)
        self._input = self._buffer(environment, "Input", given)
        self._output = self._buffer(environment, "Output", got)
        self._call("LiteRtCompiledModelGetProfiler", self._model, byref(self._profiler))
        if not self._profiler:
            raise RuntimeError("LiteRT gives no profiler")

    def invoke(self) -> None:
        """Run on whatever the input holds."""
        one, none = c_size_t(1), c_size_t(0)
        self._call(
            "LiteRtRunCompiledModel", self._model, none, one, byref(self._input), one, byref(self._output)
        )

    def profiled(self) -> list[Event]:
        """Run, and tell what happened."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.invoke()
        self._call("LiteRtStopProfiler", self._profiler)
        return self._events()

    def _events(self) -> list[Event]:
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        size = count.value * ROOM
        data = ctypes.create_string_buffer(bytes([MARK]) * size, size)
        self._call("LiteRtGetProfilerEvents", self._profiler, count, data)
        written = len(data.raw.rstrip(bytes([MARK])))
        padding = ctypes.sizeof(_Event) - _Event.source.offset - _Event.source.size
        if not 0 <= count.value * ctypes.sizeof(_Event) - written <= padding:
            raise RuntimeError(
                f"LiteRT writes {written} bytes for {count.value} events, "
                f"not {ctypes.sizeof(_Event)} for each"
            )
        events = (_Event * count.value).from_buffer(data)
        return [
            Event(
                tag=(event.tag or b"").decode(errors="replace"),
                kind=event.kind,
                elapsed_us=event.elapsed_us,
                number=event.number,
            )
            for event in events
        ]

    def _buffer(self, environment: c_void_p, which: str, port: Port) -> c_void_p:
        kind = _TensorType(element_type=ELEMENT_TYPES[port.dtype])
        kind.layout.rank_and_flag = len(port.shape)
        kind.layout.dimensions[: len(port.shape)] = port.shape
        needs, buffer, first = c_void_p(), c_void_p(), c_size_t(0)
        name = f"LiteRtGetCompiledModel{which}BufferRequirements"
        self._call(name, self._model, first, first, byref(needs))
        self._call(
            "LiteRtCreateManagedTensorBufferFromRequirements", environment, byref(kind), needs, byref(buffer)
        )
        return buffer

    def _add(self, options: c_void_p, name: str, toml: str) -> None:
        """Options travel as TOML under a name; the text has to live as long as they do."""
        text = ctypes.create_string_buffer(toml.encode())
        release = ctypes.CFUNCTYPE(None, c_void_p)(lambda _data: None)
        self._kept += [text, release]
        made = c_void_p()
        self._call("LiteRtCreateOpaqueOptions", name.encode(), text, release, byref(made))
        self._call("LiteRtAddOpaqueOptions", options, made)

    def _call(self, name: str, *arguments: object) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise RuntimeError(f"LiteRT has no {name}")
        function.restype = c_int
        status = function(*arguments)
        if status:
            raise RuntimeError(f"{name} ends with status {status}")


def sides(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape as plain integers."""
    return tuple(int(side) for side in shape)
