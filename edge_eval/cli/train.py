"""`span-edge train`: photographs to a checkpoint."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from click.core import ParameterSource

from .options import CHECKPOINT, PATH, overwrite_option
from .outcome import INTERRUPTED
from .terminal import Terminal, progress_bars, terminal

if TYPE_CHECKING:
    from models.training import Point, TrainingPlan, TrainingResult


EPILOG = """\b
Examples:
  span-edge train --data DIV2K_train_HR --scale 4 --minutes 240 --out mine_x4.safetensors
  span-edge train --data photos --scale 2 --channels 48 --steps 90000 --teacher x2.pth --out x2.safetensors
  torchrun --standalone --nproc-per-node 2 "$(which span-edge)" train --data photos --out mine.safetensors

Several processes, on GPUs or CPUs, share each step's crops. accelerate launch starts them on GPUs too, but
on a CPU one alone.

Ctrl-C ends after the step at hand; the same command with --resume goes on. From the first saved state on,
the best network so far is in --out, in training form, and beside it is mine_x4.training.safetensors, which
--resume needs. With --steps a resumed training ends as an uninterrupted one does; with --minutes its
schedule follows the clock.
"""

DEFAULT_MINUTES = 60.0
TEACHER_SHARE = 0.5


@click.command(epilog=EPILOG)
@click.option("--data", type=PATH, required=True, metavar="DIR", help="High-resolution training images.")
@click.option("--val", type=PATH, metavar="DIR", help="Images for validation.  [default: some of --data]")
@click.option(
    "--hold-out",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many of --data, without --val.",
)
@click.option(
    "--scale",
    type=click.IntRange(min=1, max=8),
    default=4,
    show_default=True,
    help="Pixels out per pixel in, a side.",
)
@click.option(
    "--channels", type=click.IntRange(min=3), default=28, show_default=True, help="Feature channels."
)
@click.option("--steps", type=click.IntRange(min=1), help="Budget in steps: repeatable.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Budget in time.  [default: 60]")
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Crops per step, over all processes.",
)
@click.option(
    "--crop", type=click.IntRange(min=8), default=32, show_default=True, help="Side of a crop in LR pixels."
)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Adam's learning rate.",
)
@click.option(
    "--teacher",
    type=CHECKPOINT,
    metavar="CHECKPOINT",
    help="Network of the same scale to learn from as well.",
)
@click.option(
    "--teacher-share",
    type=click.FloatRange(0, 1),
    default=TEACHER_SHARE,
    show_default=True,
    help="Weight of the difference to the teacher; the rest goes to the original.",
)
@click.option(
    "--frequency",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Weight of the loss between spectra.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights and crops."
)
@click.option("--validate-every", type=click.IntRange(min=1), default=250, show_default=True, metavar="STEPS")
@click.option("--patience", type=click.IntRange(min=1), help="End after so many validations without gain.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of convolutions; auto: bfloat16 where the processor has it.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--out", "-o", type=PATH, required=True, metavar="FILE", help="Checkpoint to write (.safetensors)."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted training of the same settings.")
@overwrite_option
def train(
    *,
    data: Path,
    val: Path | None,
    hold_out: int,
    scale: int,
    channels: int,
    steps: int | None,
    minutes: float | None,
    batch: int,
    crop: int,
    lr: float,
    teacher: Path | None,
    teacher_share: float,
    frequency: float,
    seed: int,
    validate_every: int,
    patience: int | None,
    precision: Literal["auto", "float32", "bfloat16"],
    device: str,
    out: Path,
    resume: bool,
    overwrite: bool,
) -> int | None:
    """Train a SPAN from scratch on your photographs."""
    with terminal() as screen:
        from models.training import LossWeights, TrainingPlan, open_processes

        from ..training import TrainingJob, in_bfloat16, run_training

        share = teacher_share if teacher else 0.0
        plan = TrainingPlan(
            steps=steps,
            minutes=DEFAULT_MINUTES if minutes is None and steps is None else minutes,
            batch=batch,
            seed=seed,
            loss=LossWeights(pixel=1 - share, distillation=share, frequency=frequency),
            validate_every=validate_every,
            patience=patience,
            bfloat16=in_bfloat16(precision, device),
        )
        job = TrainingJob(
            data=data,
            val=val,
            held_out=hold_out,
            scale=scale,
            channels=channels,
            crop=crop,
            lr=lr,
            teacher=teacher,
            plan=plan,
            out=out,
            command=_command(click.get_current_context()),
        )
        processes = open_processes(device)
        if processes.rank == 0:
            several = "1 process" if processes.world == 1 else f"{processes.world} processes"
            screen.say(f"training in {several} on {processes.device.type}")
        with progress_bars(screen) as bars:
            result = run_training(
                job,
                processes,
                resume=resume,
                overwrite=overwrite,
                on_validation=lambda point: _tell(screen, point, plan),
                progress=bars,
            )
        return _tell_result(screen, result, out) if processes.rank == 0 else None


def _tell(screen: Terminal, point: "Point", plan: "TrainingPlan") -> None:
    left = point.seconds * (plan.steps - point.step) / point.step if plan.steps else 0.0
    left = max(0.0, 60 * plan.minutes - point.seconds) if plan.minutes else left
    screen.say(
        f"step {point.step}, {point.seconds / 60:.1f} min: loss {point.loss:.5f}, "
        f"held-out PSNR-Y {point.psnr_y_db:.3f} dB, {left / 60:.1f} min left"
    )


def _tell_result(screen: Terminal, result: "TrainingResult", out: Path) -> int | None:
    best = (
        "no validation yet"
        if result.best is None
        else f"held-out PSNR-Y {result.best.psnr_y_db:.3f} dB at step {result.best.step}"
    )
    screen.out.print(f"{out}: {best}, {result.steps} steps, {result.seconds / 60:.1f} min", soft_wrap=True)
    if result.ended != "interrupted":
        return None
    screen.say("interrupted: the same command with --resume goes on")
    return INTERRUPTED


def _command(context: click.Context) -> str:
    """The command that makes the same network, with paths cut to their last part or their bundled name."""
    from models.bundled import bundled_name

    words = ["span-edge", "train"]
    for parameter in context.command.params:
        name, value = parameter.name or "", context.params[parameter.name or ""]
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and not isinstance(value, bool):
            shown = bundled_name(value) or value.name if isinstance(value, Path) else str(value)
            words += [max(parameter.opts, key=len), shown]
    return shlex.join(words)
