"""What post-training quantization learns: training as QAT's, from low-resolution frames alone.

No labels: the aim is what the float network makes of the frames, and the best is what comes nearest to that
on frames that are held out. What was learned is dropped if it is no nearer than the start.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from models import SpanDeploy
from models.progress import Progress, silent

from .calibration import CalibrationSet
from .quantized import QuantizedSpan
from .ranges import LUMA, LUMA_SHARE

if TYPE_CHECKING:
    from models.training import TrainingPair

VALIDATIONS = 4
"""How often a search looks at the frames that are held out."""

MOST_HELD_OUT = 12


def learn(
    network: SpanDeploy,
    start: QuantizedSpan,
    calibration: CalibrationSet,
    *,
    steps: int,
    batch: int,
    side: int,
    identity: dict[str, Any],
    state: Path | None = None,
    progress: Progress = silent,
) -> QuantizedSpan:
    """The network after learning, or the start itself where nothing was gained.

    Args:
        network: the float network; left unchanged.
        start: what was made of it; left unchanged.
        calibration: frames; every third is held out, of many fewer; a single one is judged on too.
        steps: of training.
        batch: crops per step.
        side: of a crop, or of the smallest frame.
        identity: what decides the result beside these; the state of another search is refused.
        state: where the unfinished search is kept and gone on with; removed at the end.
        progress: told of training.

    Raises:
        InputError: the state cannot be used, or training diverged.
        KeyboardInterrupt: the user wants to stop; the state is kept.
    """
    from models.training import LossWeights, TrainingPlan

    from .qat import QatSettings, quantize_qat

    pairs = _pairs(network, calibration)
    apart = set(range(len(pairs) - 1, 0, -max(3, len(pairs) // MOST_HELD_OUT)))
    held_out = [pair for number, pair in enumerate(pairs) if number in apart] or pairs
    plan = TrainingPlan(
        steps=steps,
        batch=batch,
        seed=calibration.seed,
        loss=LossWeights(luma_share=LUMA_SHARE, distance="squared"),
        clip_norm=None,
        validate_every=max(1, steps // VALIDATIONS),
    )
    side = min(side, *(min(pair.lr.shape[:2]) for pair in pairs))
    result = quantize_qat(
        network,
        start,
        training=[pair for number, pair in enumerate(pairs) if number not in apart],
        held_out=held_out,
        settings=QatSettings(plan=plan, crop=side, turned=False),
        identity=identity,
        state_path=state,
        resume=state is not None and state.is_file(),
        progress=progress,
    )
    if result.training.ended == "interrupted":
        raise KeyboardInterrupt
    if state is not None:
        state.unlink(missing_ok=True)
    return replace(result.quantized, method="ptq")


@torch.no_grad()
def _pairs(network: SpanDeploy, calibration: CalibrationSet) -> "list[TrainingPair]":
    """The frames, with what the float network makes of them as originals."""
    from models.training import TrainingPair

    pairs = []
    for number, frame in enumerate(calibration.frames, start=1):
        lr = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
        made = (network(lr)[0].clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        pairs.append(TrainingPair(name=f"calibration image {number}", lr=frame, hr=made))
    return pairs


def output_error(output: Tensor, aim: Tensor) -> Tensor:
    """Mean squared error, `LUMA_SHARE` of it on luma and the rest over the channels."""
    error = output - aim
    squared = error.square().mean()
    if error.shape[1] != 3:
        return squared
    luma = torch.einsum("nchw,c->nhw", error, error.new_tensor(LUMA))
    return LUMA_SHARE * luma.square().mean() + (1 - LUMA_SHARE) * squared
