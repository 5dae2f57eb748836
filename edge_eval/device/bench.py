"""TFLite files timed on an Android device, on each of its processors that a delegate reaches."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from convert.tflite_file import open_model
from models.errors import InputError
from models.files import size_of
from models.progress import Progress, silent

from ..latency import Latency, count_ops
from ..latency_gate import PlannedRow
from ..timed_file import TimedFile, described_file
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

    `median_ms`, and what is computed from it, is None with versions of the tool that print a mean only.

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
class _File:
    """A TFLite file.

    Attributes:
        described: the file with what its metadata says, on no runtime yet.
        native_hw: (H, W) that it was made for.
        channels: of its input.
        scale: output size over input size; None where these are not in a whole ratio.
    """

    described: TimedFile
    native_hw: tuple[int, int]
    channels: int
    scale: int | None

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.described.path


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
    files = [_file(model) for model in models]
    if tool is None or not tool.is_file():
        raise InputError(f"no {tool or 'benchmark_model'}; {GET_TOOL}")
    asked = _Asked(device=device, threads=threads or DEFAULT_THREADS, warmup=warmup, runs=runs)
    results: list[DeviceLatency] = []
    timed: list[TimedFile] = []
    with device.folder() as folder:
        device.push(tool, f"{folder}/benchmark_model")
        device.shell(f"chmod 755 {folder}/benchmark_model")
        for file in files:
            device.push(file.path, f"{folder}/model.tflite")
            hw = input_hw or file.native_hw
            sized = _size_flags(hw, file.channels) if input_hw else ()
            for name in delegates:
                flags = (*sized, *DELEGATES[name].flags)
                code, text = device.shell(_command(folder, asked, flags))
                timed.append(replace(file.described, runtime=DELEGATES[name].runtime))
                results.append(_result(file, DELEGATES[name], code, text, asked=asked, hw=hw))
                progress("bench on device", len(results), len(models) * len(delegates), file.path.name)
    return _with_ratios(results, timed)


def planned_on_device(
    models: Sequence[Path], delegates: Sequence[str], *, input_hw: tuple[int, int] | None = None
) -> list[PlannedRow]:
    """The rows that `bench_on_device` will give, so that limits on them can be refused before it starts.

    Raises:
        InputError: a file is missing or not TFLite.
    """
    return [
        PlannedRow(
            artifact=file.path.name,
            runtime=DELEGATES[name].runtime,
            recipe=file.described.recipe,
            input_hw=input_hw or file.native_hw,
        )
        for file in map(_file, models)
        for name in delegates
    ]


def _with_ratios(results: Sequence[DeviceLatency], files: Sequence[TimedFile]) -> list[DeviceLatency]:
    """The same rows, each with its time over that of its network's straight float file on its delegate."""
    straight: dict[tuple[str | None, str, tuple[int, int]], DeviceLatency] = {
        (file.source_sha256, row.runtime, row.input_hw): row
        for row, file in reversed(list(zip(results, files, strict=True)))
        if file.is_straight_float and file.source_sha256 and row.median_ms
    }
    done = []
    for row, file in zip(results, files, strict=True):
        base = straight.get((file.source_sha256, row.runtime, row.input_hw))
        if base is None or base.median_ms is None or row.median_ms is None:
            done.append(row)
            continue
        ratio = row.median_ms / base.median_ms
        done.append(replace(row, float_row=f"{base.artifact} on {base.runtime}", float_ratio=ratio))
    return done


def _file(model: Path) -> _File:
    """A TFLite file with one image in and one out.

    Raises:
        InputError: not a TFLite file, or not one image in.
    """
    if model.suffix.lower() != ".tflite":
        raise InputError(f"{model} is no .tflite file; benchmark_model on a device runs TFLite files only")
    graph = open_model(model).Subgraphs(0)
    shapes = [graph.Tensors(graph.Inputs(i)).ShapeAsNumpy() for i in range(graph.InputsLength())]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise InputError(f"{model} has {len(shapes)} inputs; one image (1, H, W, C) is accepted")
    height, width, channels = (int(side) for side in shapes[0][1:])
    made = [graph.Tensors(graph.Outputs(i)).ShapeAsNumpy() for i in range(graph.OutputsLength())]
    scale = int(made[0][1]) // height if len(made) == 1 and len(made[0]) == 4 and height > 0 else 0
    whole = scale > 0 and tuple(made[0][1:3]) == (scale * height, scale * width)
    return _File(
        described=described_file(model, ""),
        native_hw=(height, width),
        channels=channels,
        scale=scale if whole else None,
    )


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
    file: _File, delegate: Delegate, code: int, text: str, *, asked: _Asked, hw: tuple[int, int]
) -> DeviceLatency:
    read = read_transcript(text)
    reason = _failure(delegate, code, text, read)
    figures = read if reason is None else None
    median = figures.median_ms if figures else None
    output_hw = (file.scale * hw[0], file.scale * hw[1]) if file.scale else None
    return DeviceLatency(
        artifact=file.path.name,
        recipe=file.described.recipe,
        runtime=delegate.runtime,
        threads=asked.threads,
        input_hw=hw,
        warmup=asked.warmup,
        runs=figures.runs if figures else 0,
        init_ms=figures.init_ms if figures else None,
        median_ms=median,
        p90_ms=None,
        min_ms=figures.min_ms if figures else None,
        mean_ms=figures.mean_ms if figures else None,
        std_ms=figures.std_ms if figures else None,
        peak_rss_mb=figures.peak_rss_mb if figures else None,
        size_bytes=size_of(file.path),
        ops=count_ops(file.path),
        reason=reason,
        native_hw=file.native_hw,
        output_hw=output_hw,
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
