"""Every runtime in one table, and the function that opens a network on one of them."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from convert.artifact import Artifact
from models.bundled import bundled_names, located
from models.errors import InputError

from ..quantized_file import QuantizedCheckpoint, is_quantized, load_quantized_checkpoint
from ..runner import Runner

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.deploy import SpanDeploy
    from models.span import Span
    from quantize.quantized import QuantizedSpan

    Model = str | Path | Artifact | Checkpoint | QuantizedCheckpoint | Span | SpanDeploy | QuantizedSpan

Kind = Literal["checkpoint", "tflite", "coreml", "onnx", "openvino"]
Size = tuple[int, int] | None

SUFFIXES: Mapping[str, Kind] = {
    ".tflite": "tflite",
    ".mlpackage": "coreml",
    ".onnx": "onnx",
    ".xml": "openvino",
}
"""What a file is; every other suffix is taken for a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One way to run a network.

    Attributes:
        kind: what it runs.
        what: a few words for people.
        open: makes the runner of a file, for so many threads, at one size or any that the file permits.
        imports: modules that opening loads, so that they can be loaded before it is timed.
        unavailable: why it cannot be used here, or None.
        is_emulator: whether its time says nothing about the runtime it stands for.
    """

    kind: Kind
    what: str
    open: Callable[[Path, int, Size], Runner]
    imports: tuple[str, ...]
    unavailable: Callable[[], str | None] = lambda: None
    is_emulator: bool = False


def _open_checkpoint(path: Path, threads: int, input_hw: Size) -> Runner:
    from models import load_checkpoint, reparameterize

    if is_quantized(path):
        return _open_network(load_quantized_checkpoint(path).quantized, threads, input_hw)
    return _open_network(reparameterize(load_checkpoint(path).network), threads, input_hw)


def _open_network(network: "SpanDeploy | QuantizedSpan", threads: int, input_hw: Size) -> Runner:
    from quantize.quantized import QuantizedSpan

    from .pytorch import Simulation, TorchRunner

    config = network.config
    runnable = Simulation(network) if isinstance(network, QuantizedSpan) else network
    return TorchRunner(
        runnable, channels=config.in_channels, scale=config.upscale, threads=threads, input_hw=input_hw
    )


def _open_tflite(runtime: str) -> Callable[[Path, int, Size], Runner]:
    def opener(path: Path, threads: int, input_hw: Size) -> Runner:
        from .tflite import open_tflite

        return open_tflite(path, runtime=runtime, threads=threads, input_hw=input_hw)

    return opener


def _open_compiled(path: Path, threads: int, input_hw: Size) -> Runner:
    from .tflite_compiled import open_tflite_compiled

    return open_tflite_compiled(path, threads=threads, input_hw=input_hw)


def _open_tensorflow(path: Path, threads: int, input_hw: Size) -> Runner:
    from .tflite import open_tensorflow

    return open_tensorflow(path, threads=threads, input_hw=input_hw)


def _open_onnx(path: Path, threads: int, input_hw: Size) -> Runner:
    from .onnx_runtime import open_onnx

    return open_onnx(path, threads=threads, input_hw=input_hw)


def _open_openvino(runtime: str) -> Callable[[Path, int, Size], Runner]:
    def opener(path: Path, threads: int, input_hw: Size) -> Runner:
        from .openvino_runtime import open_openvino

        return open_openvino(path, runtime=runtime, threads=threads, input_hw=input_hw)

    return opener


def _coreml_rows() -> dict[str, Runtime]:
    """A row for every choice of processors that Core ML can be given; all of them come first."""
    from .coreml_units import RUNTIME_OF_UNITS, Units

    def row(units: Units) -> Runtime:
        def opener(path: Path, threads: int, input_hw: Size) -> Runner:
            from .coreml import open_coreml

            return open_coreml(path, threads=threads, input_hw=input_hw, units=units)

        return Runtime(
            kind="coreml",
            what=f"Core ML itself, compute units {units}",
            open=opener,
            imports=("coremltools", "edge_eval.runtimes.coreml"),
            unavailable=_no_mac,
        )

    return {name: row(units) for units, name in RUNTIME_OF_UNITS.items()}


def _open_mil(path: Path, threads: int, input_hw: Size) -> Runner:
    from .mil import open_mil

    return open_mil(path, threads=threads, input_hw=input_hw)


def _aarch64_rows() -> dict[str, Runtime]:
    """A row for every core that can be emulated; the default core's has no suffix."""
    from ..arm.cores import CORES, DEFAULT_CORE

    def row(runtime: str, core: str) -> Runtime:
        def opener(path: Path, threads: int, input_hw: Size) -> Runner:
            from .tflite_aarch64 import open_tflite_aarch64

            return open_tflite_aarch64(path, runtime=runtime, core=core, threads=threads, input_hw=input_hw)

        def unavailable() -> str | None:
            from ..arm import default_folder, why_unavailable

            return why_unavailable(core, folder=default_folder())

        return Runtime(
            kind="tflite",
            what=f"LiteRT's Arm code on an emulated {core}, numbers only",
            open=opener,
            imports=("edge_eval.runtimes.tflite_aarch64",),
            unavailable=unavailable,
            is_emulator=True,
        )

    suffixes = {core: "" if core == DEFAULT_CORE else f"-{core.removeprefix('cortex-')}" for core in CORES}
    return {
        name: row(name, core) for core, suffix in suffixes.items() for name in [f"tflite-aarch64{suffix}"]
    }


def _missing(package: str, extra: str) -> Callable[[], str | None]:
    """Why a runtime of an optional package cannot be used, asked when it is needed."""

    def missing() -> str | None:
        return None if find_spec(package) else f"{package} is not installed; install span-edge[{extra}]"

    return missing


def _no_mac() -> str | None:
    if sys.platform == "darwin":
        return None
    return f"Core ML runs on macOS only and this is {sys.platform}; use the emulator (--runtime mil)"


LITERT = ("ai_edge_litert.interpreter", "edge_eval.runtimes.tflite")

RUNTIMES: Mapping[str, Runtime] = {
    "torch": Runtime(
        kind="checkpoint",
        what="PyTorch, float32; a quantized checkpoint's integers are simulated",
        open=_open_checkpoint,
        imports=("models.checkpoint", "models.reparam", "edge_eval.runtimes.pytorch"),
    ),
    "tflite": Runtime(kind="tflite", what="LiteRT with XNNPACK", open=_open_tflite("tflite"), imports=LITERT),
    "tflite-plain": Runtime(
        kind="tflite",
        what="LiteRT's own kernels, no delegate",
        open=_open_tflite("tflite-plain"),
        imports=LITERT,
    ),
    "tflite-reference": Runtime(
        kind="tflite",
        what="LiteRT's reference kernels, slow",
        open=_open_tflite("tflite-reference"),
        imports=LITERT,
    ),
    "tflite-compiled": Runtime(
        kind="tflite",
        what="LiteRT's newer CompiledModel, XNNPACK on the CPU",
        open=_open_compiled,
        imports=("ai_edge_litert.compiled_model", *LITERT),
    ),
    "tensorflow": Runtime(
        kind="tflite",
        what="TensorFlow's interpreter",
        open=_open_tensorflow,
        imports=("tensorflow", "edge_eval.runtimes.tflite"),
        unavailable=_missing("tensorflow", "tensorflow"),
    ),
    **_aarch64_rows(),
    **_coreml_rows(),
    "mil": Runtime(
        kind="coreml",
        what="Core ML emulator, numbers only",
        open=_open_mil,
        imports=("coremltools", "edge_eval.runtimes.mil"),
        is_emulator=True,
    ),
    "onnxruntime": Runtime(
        kind="onnx",
        what="ONNX Runtime on the CPU",
        open=_open_onnx,
        imports=("onnxruntime", "edge_eval.runtimes.onnx_runtime"),
        unavailable=_missing("onnxruntime", "compare"),
    ),
    "openvino": Runtime(
        kind="openvino",
        what="OpenVINO on the CPU, float operations in float32",
        open=_open_openvino("openvino"),
        imports=("openvino", "edge_eval.runtimes.openvino_runtime"),
        unavailable=_missing("openvino", "compare"),
    ),
    "openvino-bf16": Runtime(
        kind="openvino",
        what="OpenVINO on the CPU as it comes: in bfloat16 where the CPU has it",
        open=_open_openvino("openvino-bf16"),
        imports=("openvino", "edge_eval.runtimes.openvino_runtime"),
        unavailable=_missing("openvino", "compare"),
    ),
}


def open_runner(
    model: "Model",
    *,
    runtime: str | None = None,
    threads: int | None = None,
    input_hw: Size = None,
) -> Runner:
    """A network, ready to run.

    Args:
        model: a `.tflite` file, an `.mlpackage`, a float or quantized checkpoint or a bundled one's name,
            what was read of one, or a folded or quantized network.
        runtime: row of `RUNTIMES`; by default `default_runtime` of what is given.
        threads: CPU threads; by default every core this process may use. Core ML chooses its own.
        input_hw: (H, W), the only size to take; None: any size that the file permits.

    Raises:
        InputError: no such file or runtime, a runtime of another format or not available here, or a
            model that the runtime cannot run.
    """
    count = threads if threads is not None else available_cores()
    if count < 1:
        raise InputError(f"{count} threads cannot run anything; give 1 or more")
    kind = kind_of(model)
    name = runtime or default_runtime(kind)
    row = _usable(name, kind)
    if isinstance(model, str | Path | Artifact):
        path = model.path if isinstance(model, Artifact) else located(model)
        if not path.exists():
            raise InputError(
                f"{path} does not exist; give a checkpoint, one of {', '.join(bundled_names())}, "
                "a .tflite file or an .mlpackage"
            )
        return row.open(path, count, input_hw)
    return _open_network(_folded(model), count, input_hw)


def kind_of(model: "Model") -> Kind:
    """What a model is, by the suffix of its file."""
    if isinstance(model, Artifact):
        return model.info.format
    if isinstance(model, str | Path):
        return SUFFIXES.get(Path(model).suffix.lower(), "checkpoint")
    return "checkpoint"


def default_runtime(kind: Kind) -> str:
    """The first runtime of the table that runs this kind and is available here.

    Raises:
        InputError: none is, with the reasons.
    """
    reasons = []
    for name, row in RUNTIMES.items():
        if row.kind == kind:
            reason = row.unavailable()
            if reason is None:
                return name
            reasons.append(f"runtime {name}: {reason}")
    raise InputError(f"nothing here runs {kind} files; {'; '.join(reasons)}")


def available_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def refuse_runtime(name: str, kind: Kind) -> None:
    """Refuse a runtime that there is not, or that does not run such files, available here or not.

    Raises:
        InputError: saying which there are.
    """
    if name not in RUNTIMES:
        raise InputError(f"there is no runtime {name!r}; there are {', '.join(RUNTIMES)}")
    row = RUNTIMES[name]
    if row.kind != kind:
        fitting = ", ".join(other for other, entry in RUNTIMES.items() if entry.kind == kind)
        raise InputError(f"runtime {name} runs {row.kind} files, and this is a {kind} file; use {fitting}")


def _usable(name: str, kind: Kind) -> Runtime:
    refuse_runtime(name, kind)
    row = RUNTIMES[name]
    reason = row.unavailable()
    if reason:
        raise InputError(f"runtime {name} is not available here: {reason}")
    return row


def _folded(
    model: "Checkpoint | QuantizedCheckpoint | Span | SpanDeploy | QuantizedSpan",
) -> "SpanDeploy | QuantizedSpan":
    from models import Checkpoint, Span, reparameterize

    if isinstance(model, QuantizedCheckpoint):
        return model.quantized
    network = model.network if isinstance(model, Checkpoint) else model
    return reparameterize(network) if isinstance(network, Span) else network
