"""The options of `span-edge bench` for this computer, and what they do."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from models.progress import Progress

from .options import CHECKPOINT, PATH, names_of, network_options, refuse_threads, size
from .terminal import Terminal, progress_bars

if TYPE_CHECKING:
    from ..compare import Judge
    from ..datasets import Dataset
    from ..gates import Gates
    from ..latency import Latency
    from ..sweep import Timings
    from ..timed_file import TimedFile
    from .sources import Loaded

Command = TypeVar("Command", bound=Callable[..., Any])

STANDARD = "standard"
STANDARD_SIZES = ((128, 128), (180, 320), (360, 640), (540, 960))
"""What networks for x2 to x4 get to see: a tile, and frames that become 720p to 4K."""

BUSY = 0.5
"""Load per core above which times are not to be relied on."""


def sizes(text: str) -> tuple[tuple[int, int], ...]:
    """`HxW`, or the `STANDARD_SIZES`.

    Raises:
        click.BadParameter: it is neither.
    """
    return STANDARD_SIZES if text == STANDARD else (size(text),)


def thread_counts(text: str | tuple[int, ...]) -> tuple[int, ...]:
    """Comma-separated thread counts, each once.

    Raises:
        click.BadParameter: one is no whole number from 1 up.
    """
    if isinstance(text, tuple):
        return text
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(
            f"{text!r} is no list of thread counts; give whole numbers from 1 up, as 1,2"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def _rivals() -> tuple[str, ...]:
    from ..compare import RIVALS

    return tuple(RIVALS)


def host_options(command: Command) -> Command:
    """What is timed, how, and what with."""
    images = "Images to judge quality on, beside the time.  [default: scikit-image's, with --compare-with]"
    for option in (
        click.option("--profile", is_flag=True, help="Time per operation and per layer, too."),
        click.option("--calibration", type=PATH, metavar="DIR", help="Images that other tools calibrate on."),
        click.option("--data", type=PATH, metavar="DIR", help=images),
        click.option(
            "--reference", type=CHECKPOINT, help="The float network.  [default: what the files name]"
        ),
        click.option(
            "--compare-with",
            type=names_of("tool", _rivals),
            metavar="NAME,...",
            help="Other tools: torch, onnxruntime[-int8], openvino[-bf16,-int8], ai-edge-quantizer.",
        ),
        click.option(
            "--runtime",
            "runtimes",
            multiple=True,
            metavar="NAME",
            help="What runs the files, repeatable; all: everything there is.  [default: the fastest here]",
        ),
        click.option(
            "--size",
            "sizes",
            type=sizes,
            multiple=True,
            metavar="HxW",
            callback=lambda _context, _parameter, given: _flat(given),
            help="Input size, repeatable; standard: 128x128, 180x320, 360x640, 540x960."
            "  [default: each file's own]",
        ),
        click.option(
            "--time-limit",
            "most_s",
            type=click.FloatRange(min=0),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="A row takes no more runs after these, but 3.",
        ),
        click.option(
            "--warmup", type=click.IntRange(min=0), default=5, show_default=True, help="Runs before them."
        ),
        click.option(
            "--runs", type=click.IntRange(min=1), default=50, show_default=True, help="Timed runs per row."
        ),
        click.option(
            "--threads",
            type=thread_counts,
            default=(),
            metavar="N,...",
            help="CPU threads, one after the other.  [default: all cores]",
        ),
    ):
        command = option(command)
    return network_options(command)


def _flat(given: Sequence[tuple[tuple[int, int], ...]]) -> tuple[tuple[int, int], ...]:
    return tuple(dict.fromkeys(hw for several in given for hw in several))


def bench_host(
    screen: Terminal,
    models: tuple[Path, ...],
    *,
    gates: "Gates",
    sizes: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    runtimes: tuple[str, ...],
    runs: int,
    warmup: int,
    most_s: float,
    compare_with: tuple[str, ...] | None,
    reference: Path | None,
    data: Path | None,
    calibration: Path | None,
    profile: bool,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
) -> dict[str, Any]:
    """What `bench --json` holds of this computer: `results`, `floor`, `compared`.

    Raises:
        InputError: something cannot be done as asked, or a gate names rows that there will not be.
    """
    from ..compare import RIVALS, Judge
    from ..sweep import Sweep, run_sweep
    from ..timed_file import files_on
    from .sources import find_reference, load_network

    refuse_threads(threads)
    files = files_on(list(models), runtimes)
    sweep = Sweep(sizes=sizes or (None,), threads=threads, warmup=warmup, runs=runs, most_s=most_s)
    if not compare_with:
        _refuse_unusable(gates, files, sizes)
    _warn_if_busy(screen)
    with tempfile.TemporaryDirectory() as scratch, progress_bars(screen) as bars:
        judge = None
        if compare_with or data is not None:
            network = load_network(
                find_reference(models, reference), img_range=img_range, rgb_mean=rgb_mean, progress=bars
            )
            images = _images(network, data)
            judge = Judge(network.network, images)
            made = _compared(network, images, compare_with or (), calibration, Path(scratch), bars)
            there = {(file.path.resolve(), file.runtime) for file in files}
            files += [file for file in made if (file.path.resolve(), file.runtime) not in there]
            _refuse_unusable(gates, files, sizes)
        timings = run_sweep(files, sweep, progress=bars)
        latencies = _completed(timings, files, judge, profile, bars)
    return {
        "results": [latency.to_json() for latency in latencies],
        "floor": [floor.to_json() for floor in timings.floors],
        "compared": {name: RIVALS[name].what for name in compare_with or ()},
    }


def _refuse_unusable(gates: "Gates", files: "list[TimedFile]", sizes: tuple[tuple[int, int], ...]) -> None:
    """Refuse limits on rows that there will not be, before anything is timed.

    Raises:
        InputError: see `Gates.refuse_unusable`.
    """
    from ..planned_rows import planned_files

    if gates.max_latency_ratios:
        gates.refuse_unusable(planned_files(files, one_size=bool(sizes)))


def _warn_if_busy(screen: Terminal) -> None:
    import psutil

    from ..runtimes.table import available_cores

    load, cores = psutil.getloadavg()[0], available_cores()
    if load > BUSY * cores:
        busy = f"load {load:.1f} on {cores} cores"
        screen.say(f"bench: this computer is busy ({busy}), its times are not reliable now")


def _images(loaded: "Loaded", data: Path | None) -> "Dataset":
    """The images that everything is judged on."""
    from ..datasets import open_dataset
    from .sources import channels_of

    config = loaded.network.config
    images = open_dataset(data, scale=config.upscale, channels=channels_of(config))
    images.require_usable()
    return images


def _compared(  # noqa: PLR0917 - each is one thing that the files are made of
    loaded: "Loaded",
    images: "Dataset",
    names: tuple[str, ...],
    calibration: Path | None,
    folder: Path,
    progress: Progress,
) -> "tuple[TimedFile, ...]":
    """The files to compare with, made in `folder`."""
    from ..compare import Material, calibration_tiles, prepare
    from ..quantization import open_calibration, refuse_shared_images

    if not names:
        return ()
    learned = open_calibration(calibration, scale=images.scale, channels=images.channels)
    refuse_shared_images(learned, images)
    material = Material(
        network=loaded.network,
        source=loaded.source,
        checkpoint=loaded.checkpoint.path,
        tiles=calibration_tiles(learned),
        folder=folder,
    )
    return prepare(names, material, progress=progress)


def _completed(
    timings: "Timings",
    files: "list[TimedFile]",
    judge: "Judge | None",
    profile: bool,
    progress: Progress,
) -> "list[Latency]":
    """The rows with their quality and their profile, where these were asked for."""
    from ..profiling import profile_latency

    paths = {(file.path.name, file.runtime, file.compared): file.path for file in files}
    qualities: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    done = []
    total = len(timings.latencies)
    for number, latency in enumerate(timings.latencies, start=1):
        key = (latency.artifact, latency.runtime, latency.compared)
        if judge is not None and latency.reason is None:
            if key not in qualities:
                qualities[key] = judge.quality(paths[key], latency.runtime)
            progress("judge", number, total, latency.artifact)
        found = profile_latency(latency, paths[key]) if profile else None
        if profile:
            progress("profile", number, total, latency.artifact)
        done.append(replace(latency, quality=qualities.get(key), profile=found))
    return done
