"""`span-edge estimate`: what files would cost on devices that are not here, by a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import PATH, json_option, overwrite_option, size, threads_option
from .terminal import Terminal, progress_bars, refuse_taken_json, terminal

if TYPE_CHECKING:
    from ..cost import Estimate, HostCheck

EPILOG = """\b
Examples:
  span-edge estimate out/*.tflite out/*.mlpackage --profile raspberry-pi-5-cpu
  span-edge estimate out/*.tflite --profile host --check

These are estimates by a roofline model, not latencies: they rank files on one device. --check compares the
model with this computer's own latency. --profiles lists the devices and where their figures are from; a
figure that nobody published is unknown, and then there is no estimate.
"""


@click.command(epilog=EPILOG)
@click.argument("models", nargs=-1, type=PATH, metavar="ARTIFACT...")
@click.option(
    "--profile", "names", multiple=True, metavar="NAME", help="Device, repeatable.  [default: all but host]"
)
@click.option("--profiles", is_flag=True, help="List the devices, their peaks and their sources.")
@click.option("--check", is_flag=True, help="Measure the files here too, and state the model's error.")
@click.option("--size", "size_hw", type=size, metavar="HxW", help="Input size.  [default: each file's own]")
@threads_option
@json_option
@overwrite_option
def estimate(
    *,
    models: tuple[Path, ...],
    names: tuple[str, ...],
    profiles: bool,
    check: bool,
    size_hw: tuple[int, int] | None,
    threads: int | None,
    json_target: str | None,
    overwrite: bool,
) -> None:
    """Estimate files' time on devices from what they compute and move; no measurement."""
    with terminal() as screen:
        refuse_taken_json(json_target, overwrite=overwrite)
        if profiles:
            _list_profiles(screen)
            return
        if not models:
            raise click.UsageError("give files to estimate, or --profiles")
        from ..cost import check_on_host, count_costs, known_profiles, measure_host, read_profile
        from ..cost import estimate as estimate_costs
        from ..cost.profile import HOST
        from ..runtimes.table import available_cores

        wanted = names or tuple(name for name in known_profiles() if name != HOST)
        costs = [count_costs(path, input_hw=size_hw) for path in models]
        cores = threads or available_cores()
        devices = [measure_host(threads=cores) if name == HOST else read_profile(name) for name in wanted]
        estimates = [estimate_costs(cost, device) for device in devices for cost in costs]
        judged = None
        if check:
            with progress_bars(screen) as bars:
                host = next((device for device in devices if device.name == HOST), None)
                judged = check_on_host(models, threads=threads, input_hw=size_hw, profile=host, progress=bars)
        if json_target is not None:
            screen.emit_json(_document(estimates, judged), json_target, overwrite=overwrite)
        if json_target != "-":
            _show(screen, estimates, judged)


def _document(estimates: "Sequence[Estimate]", judged: "HostCheck | None") -> dict[str, Any]:
    from ..cost.roofline import ASSUMPTIONS, MODEL
    from ..environment import environment

    used = {guess.profile.name: guess.profile.to_json() for guess in estimates}
    return {
        "schema": 1,
        "kind": "estimate",
        "model": {"name": MODEL, "assumptions": list(ASSUMPTIONS)},
        "environment": environment(),
        "profiles": list(used.values()),
        "results": [guess.to_json() for guess in estimates],
        "check": judged.to_json() if judged else None,
    }


def _show(screen: Terminal, estimates: "Sequence[Estimate]", judged: "HostCheck | None") -> None:
    from ..cost.roofline import MODEL
    from ..report_text import ms_text

    table = _table(
        "artifact", "input", "profile", "GMAC", "MB moved", "estimate ms", "compute ms", "memory ms"
    )
    for guess in estimates:
        costs = guess.costs
        table.add_row(
            costs.artifact,
            f"{costs.input_hw[0]}x{costs.input_hw[1]}",
            guess.profile.name,
            f"{costs.macs / 1e9:.3f}",
            f"{costs.bytes / 1e6:.1f}",
            *(ms_text(value) for value in (guess.estimated_ms, guess.compute_ms, guess.memory_ms)),
        )
    screen.out.print(table)
    for reason in dict.fromkeys(
        f"SKIPPED {guess.profile.name}: {guess.reason}" for guess in estimates if guess.reason
    ):
        screen.out.print(reason)
    screen.out.print(f"estimates by the model {MODEL}, not latencies")
    if judged:
        _show_check(screen, judged)


def _show_check(screen: Terminal, judged: "HostCheck") -> None:
    table = _table("artifact", "input", "host estimate ms", "measured ms", "measured / estimate")
    for checked in judged.files:
        table.add_row(
            checked.artifact,
            f"{checked.input_hw[0]}x{checked.input_hw[1]}",
            f"{checked.estimated_ms:.2f}",
            f"{checked.measured_ms:.2f}",
            f"{checked.ratio:.2f}",
        )
    screen.out.print(table)
    for name, reason in judged.skipped.items():
        screen.out.print(f"not checked: {name}: {reason}")
    rank = "too few files to rank" if judged.rank_correlation is None else f"{judged.rank_correlation:.2f}"
    screen.out.print(
        f"rank correlation (Spearman): {rank}; measured is {judged.typical_ratio:.2f} times the estimate, "
        f"and single files are off that by up to a factor of {judged.spread:.2f}"
    )


def _list_profiles(screen: Terminal) -> None:
    from ..cost import known_profiles, read_profile
    from ..cost.profile import HOST

    for name in known_profiles():
        if name == HOST:
            screen.out.print("host: this computer, measured when it is asked for")
            continue
        profile = read_profile(name)
        screen.out.print(f"{name}: {profile.what}")
        figures = {**profile.peak_gops, "bandwidth_gb_s": profile.bandwidth_gb_s}
        for key, value in figures.items():
            unit = "GB/s" if key == "bandwidth_gb_s" else "10^9 operations/s"
            known = "" if value is None else f"{value:g} {unit}; "
            screen.out.print(f"  {key}: {known}{profile.sources[key]}", soft_wrap=True)


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        left = column in ("artifact", "profile")
        table.add_column(column, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    return table
