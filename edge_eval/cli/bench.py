"""`span-edge bench`: how long files take on this computer."""

from pathlib import Path
from typing import Any

import click

from models.errors import InputError

from .device_bench import bench_device, device_options
from .gating import gate_help, gate_options, gates_of
from .host_bench import bench_host, host_options
from .mac_bench import plans_of, runtimes_of_units, units_option
from .options import CHECKPOINT, json_option, markdown_option, overwrite_option
from .outcome import GateError
from .terminal import refuse_taken_targets, terminal

EPILOG = f"""\b
Examples:
  span-edge bench out/*.tflite --threads 1,2
  span-edge bench spanx4_ch48.pth out/*.tflite --size standard --runs 30 --json bench.json
  span-edge bench out/*.tflite --runtime tflite --runtime tflite-compiled --profile
  span-edge bench out/*.tflite --reference spanx4_ch48.pth --compare-with onnxruntime-int8,openvino-int8
  span-edge bench out/*.tflite --benchmark-model benchmark_model --adb

The files take turns, so that a disturbed computer slows all of them alike. It is this computer's latency,
not a phone's; --adb times on a phone. Core ML files have no latency without a Mac. docs/benchmarks.md says
what each figure is.

{gate_help("latency")}"""


@click.command(epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, type=CHECKPOINT, metavar="ARTIFACT...")
@host_options
@device_options
@units_option
@json_option
@markdown_option
@gate_options("latency")
@overwrite_option
def bench(
    *,
    models: tuple[Path, ...],
    serial: str | None,
    tool: Path | None,
    delegates: tuple[str, ...],
    compute_units: tuple[Any, ...] | None,
    json_target: str | None,
    markdown_target: str | None,
    max_latency_ratio: tuple[str, ...],
    baseline: Path | None,
    tolerance: str | None,
    overwrite: bool,
    **host: Any,
) -> None:
    """Time converted files (or checkpoints) on this computer, or on a device."""
    with terminal() as screen:
        refuse_taken_targets(json_target, markdown_target, overwrite=overwrite)
        from ..environment import environment
        from ..latency_text import bench_tables
        from ..report_data import Report, results_of
        from ..report_markdown import report_markdown
        from .sources import refuse_same_names

        refuse_same_names(models)
        limits = {"max_latency_ratio": max_latency_ratio, "baseline": baseline, "tolerance": tolerance}
        gates = gates_of(("latency",), **limits)  # type: ignore[arg-type]
        if compute_units:
            host["runtimes"] = runtimes_of_units(compute_units, models, host["runtimes"])
        here = environment()
        document: dict[str, Any] = {"schema": 1, "environment": here}
        if serial is not None:
            asked = {"serial": serial, "tool": tool, "delegates": delegates, **_device_options(host)}
            latencies, here["device"] = bench_device(screen, models, gates=gates, **asked)
            document["results"] = [latency.to_json() for latency in latencies]
        else:
            document |= bench_host(screen, models, gates=gates, **host)
        if compute_units:
            document["compute_plans"] = [plan.to_json() for plan in plans_of(screen, models, compute_units)]
        if json_target is not None:
            screen.emit_json(document, json_target, overwrite=overwrite)
        _, timed = results_of(document)
        failures = gates.failures((), timed)
        if markdown_target is not None:
            found = Report(title="", folder=Path(), latency=timed, environment=here, failures=failures)
            screen.emit_text(report_markdown(found), markdown_target, overwrite=overwrite)
        if "-" not in (json_target, markdown_target):
            screen.out.print(*bench_tables(document), sep="\n")
    if failures:
        raise GateError(failures)


def _device_options(host: dict[str, Any]) -> dict[str, Any]:
    """What a device is asked for, out of the options for this computer.

    Raises:
        InputError: something that devices do not do.
    """
    several = {"sizes": "--size", "threads": "--threads"}
    if host["profile"]:
        raise InputError("--profile and --adb: profiling on a device is not supported; leave --profile out")
    not_there = [name for name in ("compare_with", "data", "reference", "calibration") if host[name]]
    if not_there:
        refused = ", ".join(f"--{name.replace('_', '-')}" for name in not_there)
        raise InputError(f"{refused} and --adb: on a device the given files are timed, no more")
    refused = ", ".join(f"several {option}" for name, option in several.items() if len(host[name]) > 1)
    if refused:
        raise InputError(f"{refused} and --adb: a device takes one size and one thread count")
    return {
        "runtime": host["runtimes"][0] if host["runtimes"] else None,
        "threads": host["threads"][0] if host["threads"] else None,
        "input_hw": host["sizes"][0] if host["sizes"] else None,
        "warmup": host["warmup"],
        "runs": host["runs"],
    }
