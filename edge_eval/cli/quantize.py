"""`span-edge quantize`: a float checkpoint to a quantized one."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from models.errors import InputError

from .options import (
    CHECKPOINT,
    PATH,
    integer_recipes,
    json_option,
    network_options,
    overwrite_option,
    quantization_options,
    recipe_lines,
)
from .outcome import INTERRUPTED
from .qat import train_in_sight, training_facts, training_line
from .terminal import Terminal, progress_bars, refuse_taken_json, terminal
from .training_options import asked_training, training_options

if TYPE_CHECKING:
    from models.progress import Progress
    from quantize.qat import QatResult
    from quantize.quantized import QuantizedSpan
    from quantize.sensitivity import Cost

    from ..quantization import EffortName, Quantization
    from .sources import Loaded

SUFFIX = ".safetensors"
DEFAULT_RECIPE = "w8a8"
STATE_SUFFIX = ".quantizing"
"""What is added to the result's name for the state that --resume goes on from."""

EPILOG = f"""\b
Examples:
  span-edge quantize spanx4_ch48.pth --data photos --effort best -o span_w8a8.safetensors
  span-edge quantize spanx4_ch48.pth --method qat --data photos --minutes 60 -o span_w8a8.safetensors
  span-edge quantize spanx4_ch48.pth --sensitivity --plot costs.svg -o span_w8a8.safetensors
  span-edge convert span_w8a8.safetensors --format tflite -o span_w8a8.tflite
  span-edge convert span_w8a8.safetensors --format coreml -o span_w8a8.mlpackage

{recipe_lines(integer_recipes())}

--data: 50 to 500 photographs of the kind that the network will meet, in high resolution; they are reduced
by the network's scale. Never those that it is evaluated on. An interrupted search leaves its state beside
FILE; the same command with --resume goes on.

--method qat trains on --data after ptq, or from a quantized CHECKPOINT on, and gives back what is best on
images that it holds out, never less than the start. Ctrl-C ends after the step at hand, with the best so far
in FILE. Several processes: torchrun --standalone --nproc-per-node 2 "$(which span-edge)" quantize ...
"""


@click.command(epilog=EPILOG)
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--recipe", type=click.Choice(integer_recipes()), help="Kind of numbers.  [default: w8a8]")
@quantization_options("--data", "--calibration")
@click.option("--resume", is_flag=True, help="Go on with an interrupted search of the same settings.")
@training_options
@click.option(
    "--reference", type=CHECKPOINT, metavar="CHECKPOINT", help="qat: float network of a quantized one."
)
@click.option(
    "--sensitivity", is_flag=True, help="Show and plot what each tensor's and layer's rounding costs."
)
@click.option(
    "--plot",
    type=PATH,
    metavar="FILE",
    help="Its picture, or qat's curve: .png, .svg, .pdf.  [default: beside --out]",
)
@click.option("-o", "--out", type=PATH, required=True, metavar="FILE", help="File to write (.safetensors).")
@json_option
@network_options
@overwrite_option
@click.pass_context
def quantize(
    context: click.Context,
    *,
    checkpoint: Path,
    recipe: str | None,
    method: str | None,
    calibration: Path | None,
    effort: "EffortName | None",
    seed: int | None,
    resume: bool,
    reference: Path | None,
    sensitivity: bool,
    plot: Path | None,
    out: Path,
    json_target: str | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
    overwrite: bool,
) -> int | None:
    """Quantize a float checkpoint: integers and scales that files of every format share."""
    overwrite_result = overwrite or resume
    refuse_outputs(out, json_target, overwrite=overwrite_result)
    picture = picture_path(out, sensitivity=sensitivity, plot=plot, method=method, overwrite=overwrite)
    state = state_path(out, resume=resume, overwrite=overwrite)
    with terminal() as screen:
        from .quantizing import asked_quantization, network_and_start

        network: dict[str, Any] = {"img_range": img_range, "rgb_mean": rgb_mean}
        loaded, start = network_and_start(checkpoint, reference, method=method, recipe=recipe, **network)
        recipe = recipe or (start.recipe if start else DEFAULT_RECIPE)
        config = loaded.checkpoint.config
        training = asked_training(context, method, config)
        asked: dict[str, Any] = {"calibration": calibration, "method": method, "effort": effort, "seed": seed}
        plan = asked_quantization([recipe], None, config=config, training=training, start=start, **asked)
        assert plan is not None, "every recipe that this command takes is calibrated"
        began = time.monotonic()
        with progress_bars(screen) as bars:
            made = _search(screen, loaded, plan, recipe, out=out, state=state, progress=bars)
            if made is None:
                return None
            quantized, trained = made
            quantized.save(out, overwrite=overwrite_result or trained is not None)
            if picture is not None and trained is not None:
                _draw_training(trained, picture)
            costs = _costs(loaded, quantized, plan, picture, bars) if picture and not trained else None
        document = {
            "schema": 1,
            **facts_of(quantized, plan, path=out, seconds=time.monotonic() - began),
            "training": None if trained is None else training_facts(trained),
            "sensitivity": None if costs is None else [asdict(cost) for cost in costs],
        }
        if json_target is not None:
            screen.emit_json(document, json_target, overwrite=overwrite_result)
        if json_target != "-":
            _show(screen, document, quantized.provenance.search, costs, picture)
        if trained is None or trained.training.ended != "interrupted":
            return None
        screen.say("interrupted: the same command with --resume goes on")
        return INTERRUPTED


def _search(
    screen: Terminal,
    loaded: "Loaded",
    plan: "Quantization",
    recipe: str,
    *,
    out: Path,
    state: Path,
    progress: "Progress",
) -> "tuple[QuantizedSpan, QatResult | None] | None":
    """What was found, and how training went where there was any; None in all processes but the first."""
    from ..quantization import quantize_network

    if plan.method == "qat":
        trained = train_in_sight(screen, loaded, plan, recipe=recipe, out=out, state=state, progress=progress)
        return None if trained is None else (trained.quantized, trained)
    return quantize_network(
        loaded.network, loaded.source, plan, recipe=recipe, resume=state, progress=progress
    ), None


def _draw_training(trained: "QatResult", picture: Path) -> None:
    from ..training_curve import draw_curve

    draw_curve(
        trained.training.curve,
        picture,
        float_psnr_y_db=trained.float_psnr_y_db,
        title=picture.stem,
        overwrite=True,
    )


def _costs(
    loaded: "Loaded",
    quantized: "QuantizedSpan",
    plan: "Quantization",
    picture: Path,
    progress: "Progress",
) -> "list[Cost]":
    """What each rounding costs, drawn too."""
    from ..sensitivity import costs_of, draw_costs

    costs = costs_of(loaded.network, quantized, plan, progress=progress)
    draw_costs(costs, picture, title=picture.stem, overwrite=True)
    return costs


def refuse_outputs(out: Path, json_target: str | None, *, overwrite: bool) -> None:
    """Refuse names that cannot be written, before any work is done.

    Raises:
        InputError: a file exists, its folder cannot be written, or `out` has another suffix.
    """
    from models.files import refuse_existing, refuse_unwritable

    if out.suffix != SUFFIX:
        raise InputError(f"{out}: a quantized checkpoint's name ends in {SUFFIX}; give such a name")
    refuse_existing(out, overwrite=overwrite)
    refuse_unwritable(out)
    refuse_taken_json(json_target, overwrite=overwrite)


def picture_path(
    out: Path, *, sensitivity: bool, plot: Path | None, method: str | None, overwrite: bool
) -> Path | None:
    """Where the plot goes; None where none was asked for.

    Raises:
        InputError: it cannot be written there, or was named and not asked for, or is none of this method.
    """
    from ..sensitivity import refuse_picture

    if method == "qat" and sensitivity:
        raise InputError("--sensitivity measures what ptq made of the images; leave it or --method qat out")
    if plot is not None and not sensitivity and method != "qat":
        raise InputError(f"--plot {plot} shows what --sensitivity measures; give that too")
    picture = plot or (out.with_name(f"{out.stem}_sensitivity.png") if sensitivity else None)
    if picture is not None:
        refuse_picture(picture, overwrite=overwrite)
    return picture


def state_path(out: Path, *, resume: bool, overwrite: bool) -> Path:
    """Where the search keeps its state, beside which it keeps what it started from.

    Raises:
        InputError: there is one of them and it is not asked for, or none and it is.
    """
    from quantize.start_file import start_path

    state = out.with_name(out.name + STATE_SUFFIX)
    left = [path for path in (state, start_path(state)) if path.exists()]
    if resume and not left:
        raise InputError(f"there is no {state} of an interrupted search; leave --resume out")
    if left and not resume:
        if not overwrite:
            raise InputError(
                f"an interrupted search left {left[0]}; give --resume to go on, or --overwrite to begin anew"
            )
        for path in left:
            path.unlink()
    return state


def facts_of(
    quantized: "QuantizedSpan", plan: "Quantization", *, path: Path, seconds: float
) -> dict[str, Any]:
    """What was made, of what and how, JSON-ready."""
    from models.files import sha256_of

    made = quantized.provenance
    return {
        "file": path.name,
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "recipe": quantized.recipe,
        "method": quantized.method,
        "effort": made.effort,
        "seed": made.seed,
        "starts": made.starts,
        "steps": made.steps,
        "seconds": round(seconds, 1),
        "calibration": {"name": plan.calibration.name, "images": made.images, "sha256": made.images_sha256},
        "source": {"name": made.source_name, "sha256": made.source_sha256},
        "float_nodes": list(quantized.float_nodes),
    }


def _show(
    screen: Terminal,
    document: dict[str, Any],
    search: str,
    costs: "Sequence[Cost] | None",
    picture: Path | None,
) -> None:
    """The facts as lines, the costs as a table."""
    images, megabytes = document["calibration"], document["size_bytes"] / 1e6
    rows = {
        "quantized": f"{document['file']}, {megabytes:.2f} MB, sha256 {document['sha256']}",
        "recipe": f"{document['recipe']}, {document['method']}",
        "search": search,
        "training": training_line(document["training"]) if document["training"] else "",
        "calibration": f"{images['name']}, {images['images']} images, sha256 {images['sha256']}",
        "left in float": ", ".join(document["float_nodes"]),
        "time": f"{document['seconds']:.1f} s",
    }
    lines = Table.grid(padding=(0, 2))
    lines.add_column(style="dim")
    lines.add_column(overflow="fold")
    for name, text in rows.items():
        if text:
            lines.add_row(name, text)
    screen.out.print(lines)
    if picture is not None:
        screen.out.print(f"plot: {picture}", soft_wrap=True)
    if costs is None:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("rounded alone")
    table.add_column("what")
    table.add_column("drop dB", justify="right")
    for cost in costs:
        table.add_row(cost.name, cost.kind, f"{cost.drop_db:.4f}")
    screen.out.print(table)
