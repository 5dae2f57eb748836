"""`span-edge bench`: how long files take on this computer."""

from pathlib import Path

import click

from .device_bench import bench_device, device_options
from .options import CHECKPOINT, json_option, overwrite_option, runtime_option, size, threads_option
from .terminal import progress_bars, refuse_taken_json, terminal

EPILOG = """\b
Examples:
  span-edge bench out/*.tflite --threads 2
  span-edge bench spanx4_ch48.pth out/*.tflite --size 320x180 --runs 100 --json bench.json
  span-edge bench out/*.tflite --benchmark-model benchmark_model --adb

The files take turns, so that a disturbed computer slows all of them alike. It is this computer's latency,
not a phone's. Core ML files have none without a Mac.
"""


@click.command(epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, type=CHECKPOINT, metavar="ARTIFACT...")
@threads_option
@click.option(
    "--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Timed runs per file."
)
@click.option("--warmup", type=click.IntRange(min=0), default=5, show_default=True, help="Runs before them.")
@click.option("--size", "size_hw", type=size, metavar="HxW", help="Input size.  [default: each file's own]")
@runtime_option
@device_options
@json_option
@overwrite_option
def bench(
    *,
    models: tuple[Path, ...],
    threads: int | None,
    runs: int,
    warmup: int,
    size_hw: tuple[int, int] | None,
    runtime: str | None,
    serial: str | None,
    tool: Path | None,
    delegates: tuple[str, ...],
    json_target: str | None,
    overwrite: bool,
) -> None:
    """Time converted files (or checkpoints) on this computer, or on a device."""
    with terminal() as screen:
        refuse_taken_json(json_target, overwrite=overwrite)
        from ..environment import environment
        from ..latency import bench as bench_models
        from ..report import DEVICE_NOTE, HOST_NOTE, latency_tables
        from ..report_data import results_of
        from .sources import refuse_same_names

        refuse_same_names(models)
        here = environment()
        options = {"threads": threads, "input_hw": size_hw, "warmup": warmup, "runs": runs}
        if serial is not None:
            asked = {"serial": serial, "tool": tool, "delegates": delegates, "runtime": runtime}
            latencies, here["device"] = bench_device(screen, models, **asked, **options)  # type: ignore[arg-type]
        else:
            with progress_bars(screen) as bars:
                latencies = bench_models(models, runtime=runtime, progress=bars, **options)  # type: ignore[arg-type]
        document = {"schema": 1, "environment": here, "results": [latency.to_json() for latency in latencies]}
        if json_target is not None:
            screen.emit_json(document, json_target, overwrite=overwrite)
        if json_target != "-":
            note = HOST_NOTE if serial is None else DEVICE_NOTE
            screen.out.print(*latency_tables(results_of(document)[1], note=note), sep="\n")
