"""Quantization-aware training on the command line: told while it runs, its best written as it goes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.progress import Progress

from .terminal import Terminal

if TYPE_CHECKING:
    from models.training import Point, TrainingPlan
    from quantize.qat import QatResult
    from quantize.quantized import QuantizedSpan

    from ..quantization import Quantization
    from .sources import Loaded


def train_in_sight(
    screen: Terminal,
    loaded: "Loaded",
    plan: "Quantization",
    *,
    recipe: str,
    out: Path,
    state: Path,
    progress: Progress,
) -> "QatResult | None":
    """Train, tell of every look at the held-out images, and write the best so far now and then.

    Returns:
        None in all processes but the first.

    Raises:
        InputError: images, settings, start or state cannot be used, or training diverged.
    """
    from models.training import open_processes, why_not_compiled

    from ..qat import run_qat
    from ..quantization import qat_job

    job = qat_job(loaded.network, loaded.source, plan, recipe=recipe)
    schedule = job.options.settings(seed=job.seed).plan
    processes = open_processes(job.options.device)
    if processes.rank == 0 and schedule.compiled:
        screen.say("the training step is compiled first, which takes a minute or two")
    elif processes.rank == 0 and job.options.compiled == "auto" and job.options.long:
        why = "on a GPU only with --compile on"
        if processes.device.type == "cpu":
            why = why_not_compiled("cpu") or why
        screen.say(f"the training step is not compiled ({why}), and takes longer")

    def tell(point: "Point", drop_db: float) -> None:
        screen.say(_line(point, drop_db, schedule))

    def keep(so_far: "QuantizedSpan") -> None:
        so_far.save(out, overwrite=True)

    result = run_qat(job, processes=processes, state=state, on_validation=tell, keep=keep, progress=progress)
    return result if processes.rank == 0 else None


def _line(point: "Point", drop_db: float, schedule: "TrainingPlan") -> str:
    """One look at the held-out images, and how long it still takes."""
    seen = f"held-out PSNR-Y {point.psnr_y_db:.3f} dB, {drop_db:.3f} below the float network"
    if not point.step:
        return f"step 0, the start: {seen}"
    left = point.seconds * ((schedule.steps or 0) - point.step) / point.step
    if schedule.minutes:
        left = 60 * schedule.minutes - point.seconds
    return (
        f"step {point.step}, {point.seconds / 60:.1f} min: loss {point.loss:.3f}, {seen}, "
        f"{max(0.0, left) / 60:.1f} min left"
    )


def training_facts(result: "QatResult") -> dict[str, Any]:
    """What came of the training, JSON-ready."""
    training = result.training
    return {
        "ended": training.ended,
        "steps": training.steps,
        "seconds": round(training.seconds, 1),
        "best_step": None if training.best is None else training.best.step,
        "float_psnr_y_db": result.float_psnr_y_db,
        "gained_db": result.gained_db,
        "drop_db": result.drop_db,
        "curve": [asdict(point) for point in training.curve],
    }


def training_line(facts: dict[str, Any]) -> str:
    """The same for people."""
    what = f"{facts['steps']} steps, {facts['seconds'] / 60:.1f} min, {facts['ended']}"
    if not facts["best_step"]:
        return f"{what}: nothing gained on the held-out images, the start was kept"
    return (
        f"{what}: {facts['gained_db']:+.3f} dB on the held-out images at step {facts['best_step']}, "
        f"{facts['drop_db']:.3f} below the float network"
    )
