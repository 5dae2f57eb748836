"""TFLite files timed on an Android device, on each of its processors that a delegate reaches."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from convert.tflite_file import open_model
from models.errors import InputError
from models.files import size_of
from models.progress import Progress, silent

from ..latency import Latency, count_ops
from .adb import Device
from .transcript import Transcript, last_error, read_transcript

DEFAULT_THREADS = 4
GET_TOOL = (
    "give --benchmark-model FILE, TensorFlow Lite's benchmark_model built for the device (android_aarch64); "
    "TensorFlow's page on performance measurement links nightly builds, or build "
    "//tensorflow/lite/tools/benchmark:benchmark_model with --config=android_arm64"
)


@dataclass(frozen=True, kw_only=True)
class Delegate:
    """One way to run a file on a device.

    Attributes:
        runtime: what results call it.
        flags: of `benchmark_model`.
        printed: the tool's name of the delegate in its remarks; None for the CPU.
        kernel: the tool's name of the delegate where it counts nodes.
    """

    runtime: str
    flags: tuple[str, ...]
    printed: str | None
    kernel: str


DELEGATES: Mapping[str, Delegate] = {
    "cpu": Delegate(
        runtime="adb-cpu", flags=("--use_xnnpack=true",), printed=None, kernel="TfLiteXNNPackDelegate"
    ),
    "gpu": Delegate(
        runtime="adb-gpu", flags=("--use_gpu=true",), printed="GPU", kernel="TfLiteGpuDelegateV2"
    ),
    "npu": Delegate(
        runtime="adb-npu",
        flags=("--use_nnapi=true", "--disable_nnapi_cpu=true"),
        printed="NNAPI",
        kernel="TfLiteNnapiDelegate",
    ),
}
"""By the name that `--delegates` takes. NNAPI may fall back to the CPU in silence, so that is looked for."""


@dataclass(frozen=True, kw_only=True)
class DeviceLatency(Latency):
    """One file's time on a device, in the fields of `Latency`; `p90_ms` is not printed there.

    Attributes:
        device: name of the device.
        p95_ms: of the runs, where the tool prints it.
        first_ms: the first run, which includes what is done once.
        delegated: (nodes that the delegate took, nodes), where the tool counts them.
        note: what one must know to read the figures.
    """

    device: str = ""
    p95_ms: float | None = None
    first_ms: float | None = None
    delegated: tuple[int, int] | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Asked:
    device: Device
    threads: int
    warmup: int
    runs: int


def bench_on_device(
    models: Sequence[Path],
    *,
    device: Device,
    tool: Path | None,
    delegates: Sequence[str] = tuple(DELEGATES),
    threads: int | None = None,
    input_hw: tuple[int, int] | None = None,
    warmup: int = 5,
    runs: int = 50,
    progress: Progress = silent,
) -> list[DeviceLatency]:
    """The latency of each file with each delegate; nothing stays on the device.

    Args:
        models: `.tflite` files.
        device: of `find_device`.
        tool: `benchmark_model` for that device.
        delegates: rows of `DELEGATES`.
        threads: CPU threads; None: 4.
        input_hw: (H, W) for all; None: each file's own size.
        warmup: runs before the first that counts.
        runs: runs that count, at least.
        progress: told after each run of the tool.

    Returns:
        One entry per file and delegate. Where the delegate runs nothing, or fails, there are no times, but
        the reason: the CPU's time is never given out for another processor's.

    Raises:
        InputError: the tool or a file is missing or not TFLite, or the device stops answering.
    """
    unknown = [name for name in delegates if name not in DELEGATES]
    if unknown or not delegates:
        raise InputError(f"{', '.join(unknown) or 'nothing'} is no delegate; choose {', '.join(DELEGATES)}")
    shapes = {model: input_shape(model) for model in models}
    if tool is None or not tool.is_file():
        raise InputError(f"no {tool or 'benchmark_model'}; {GET_TOOL}")
    asked = _Asked(device=device, threads=threads or DEFAULT_THREADS, warmup=warmup, runs=runs)
    results: list[DeviceLatency] = []
    with device.folder() as folder:
        device.push(tool, f"{folder}/benchmark_model")
        device.shell(f"chmod 755 {folder}/benchmark_model")
        for model, (height, width, channels) in shapes.items():
            device.push(model, f"{folder}/model.tflite")
            hw = input_hw or (height, width)
            sized = _size_flags(hw, channels) if input_hw else ()
            for name in delegates:
                flags = (*sized, *DELEGATES[name].flags)
                code, text = device.shell(_command(folder, asked, flags))
                results.append(_result(model, DELEGATES[name], code, text, asked=asked, hw=hw))
                progress("bench on device", len(results), len(models) * len(delegates), model.name)
    return results


def input_shape(model: Path) -> tuple[int, int, int]:
    """(H, W, C) of the only input of a TFLite file.

    Raises:
        InputError: not a TFLite file, or not one image in.
    """
    if model.suffix.lower() != ".tflite":
        raise InputError(f"{model} is no .tflite file; benchmark_model on a device runs TFLite files only")
    graph = open_model(model).Subgraphs(0)
    shapes = [graph.Tensors(graph.Inputs(i)).ShapeAsNumpy() for i in range(graph.InputsLength())]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise InputError(f"{model} has {len(shapes)} inputs; one image (1, H, W, C) is accepted")
    return int(shapes[0][1]), int(shapes[0][2]), int(shapes[0][3])


def _size_flags(hw: tuple[int, int], channels: int) -> tuple[str, ...]:
    return "--input_layer=image", f"--input_layer_shape=1,{hw[0]},{hw[1]},{channels}"


def _command(folder: str, asked: _Asked, flags: Sequence[str]) -> str:
    words = (
        f"{folder}/benchmark_model",
        f"--graph={folder}/model.tflite",
        f"--num_threads={asked.threads}",
        f"--warmup_runs={asked.warmup}",
        f"--num_runs={asked.runs}",
        "--report_peak_memory_footprint=true",
        *flags,
    )
    return shlex.join(words)


def _result(
    model: Path, delegate: Delegate, code: int, text: str, *, asked: _Asked, hw: tuple[int, int]
) -> DeviceLatency:
    read = read_transcript(text)
    reason = _failure(delegate, code, text, read)
    figures = read if reason is None else None
    return DeviceLatency(
        artifact=model.name,
        runtime=delegate.runtime,
        threads=asked.threads,
        input_hw=hw,
        warmup=asked.warmup,
        runs=figures.runs if figures else 0,
        init_ms=figures.init_ms if figures else None,
        median_ms=figures.median_ms if figures else None,
        p90_ms=None,
        min_ms=figures.min_ms if figures else None,
        mean_ms=figures.mean_ms if figures else None,
        std_ms=figures.std_ms if figures else None,
        peak_rss_mb=figures.peak_rss_mb if figures else None,
        size_bytes=size_of(model),
        ops=count_ops(model),
        reason=reason,
        device=asked.device.name,
        p95_ms=figures.p95_ms if figures else None,
        first_ms=figures.first_ms if figures else None,
        delegated=figures.delegated.get(delegate.kernel) if figures else None,
        note="; ".join(_notes(delegate, figures)) or None if figures else None,
    )


def _failure(delegate: Delegate, code: int, text: str, read: Transcript | None) -> str | None:
    """Why there are no times, or None."""
    if code or read is None:
        return f"benchmark_model failed with exit code {code} for {delegate.runtime}: {last_error(text)}"
    taken = read.delegated.get(delegate.kernel)
    refused = delegate.printed is not None and delegate.printed in read.refused
    if refused or (delegate.printed is not None and taken is None):
        return (
            f"the device's {delegate.printed} delegate runs nothing of this file; the CPU would have run it"
        )
    return None


def _notes(delegate: Delegate, read: Transcript) -> Iterator[str]:
    taken, nodes = read.delegated.get(delegate.kernel, (0, 0))
    if taken < nodes:
        yield f"{delegate.runtime} runs {taken} of {nodes} operations, the CPU the rest"
    if delegate.printed is None and not nodes:
        yield "XNNPACK took no operation, or this benchmark_model does not say"
    if read.median_ms is None:
        yield f"this benchmark_model prints no median; the mean is {read.mean_ms:.2f} ms"
