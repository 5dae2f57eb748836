"""Of several starts of post-training quantization, the one that comes nearest to the float network.

Which crops and directions are drawn decides the rounding noise by some per cent, on text by tens of them. A
start is judged by what it computes on other crops of the photographs, some on their side, and on other pages
of text.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent

from .calibration import CalibrationSet
from .learn import output_error
from .quantized import Provenance, QuantizedSpan, load_quantized
from .simulation import simulate
from .text import mastered, pages, small

APART = 2**16
"""Between the seeds of two starts, so that those of two searches differ."""

JUDGED_CROPS = 24
JUDGED_SIDE = 96
"""Crops that starts are judged on; each counts as it lies and on its side."""

JUDGED_PAGES = 24
"""Pages of text that they are judged on, as large as half a crop."""

TEXT_COUNTS = 0.5
"""What the error on text counts beside that on photographs, both as logarithms. More than for ranges: starts
differ by thousandths of a decibel on photographs, and by tenths on text."""

JUDGED_DRAW = 1
JUDGED_SEED = 2**20
"""Number of the draw of those crops, and seed of those pages."""

AT_ONCE = 8


def seed_of_start(seed: int, number: int) -> int:
    """The seed that start `number` is drawn with, of a search with `seed`."""
    return seed + number * APART


Make = Callable[[CalibrationSet, Progress], QuantizedSpan]
"""Makes a start from a calibration set, whose seed decides it."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Where the best start so far is kept.

    Attributes:
        path: the file; need not exist.
        recipe: of the search.
        record: what is known of the search, and the float network's hash as `source_sha256`.
    """

    path: Path
    recipe: str
    record: Provenance

    def load(self) -> QuantizedSpan | None:
        """What is kept; None where nothing is.

        Raises:
            InputError: it cannot be read, or is of another search.
        """
        if not self.path.is_file():
            return None
        found = load_quantized(self.path)
        of = replace(found.provenance, starts=self.record.starts, start=self.record.start)
        if (found.recipe, of) != (self.recipe, self.record):
            raise InputError(
                f"{self.path} belongs to another search (checkpoint, recipe, effort, seed or images differ); "
                "give those that it was begun with, or begin anew with --overwrite"
            )
        return found

    def save(self, best: QuantizedSpan) -> None:
        """Keep it."""
        made = best.provenance
        record = replace(self.record, starts=made.starts, start=made.start)
        replace(best, provenance=record).save(self.path, overwrite=True)


def nearest_start(
    network: SpanDeploy,
    calibration: CalibrationSet,
    make: Make,
    *,
    starts: int,
    kept: Kept | None = None,
    progress: Progress = silent,
) -> QuantizedSpan:
    """The best of `starts` starts, each drawn with a seed of its own (`seed_of_start`).

    Args:
        network: the float network.
        calibration: frames.
        make: makes one.
        starts: how many.
        kept: where the best so far is kept, and gone on from if it is there; None to keep none.
        progress: told of every step of every start.

    Returns:
        It, with its number and that of all starts in its provenance.

    Raises:
        InputError: what is kept cannot be read, or is of another search.
    """
    best = kept.load() if kept else None
    if best is not None and best.provenance.starts == starts:
        return best
    photographs, text = _judged_on(network, calibration)
    least = math.inf if best is None else distance(network, best, photographs, text)
    for number in range(best.provenance.starts if best else 0, starts):
        made = make(
            replace(calibration, seed=seed_of_start(calibration.seed, number)),
            _counted(progress, number, starts, least),
        )
        found = distance(network, made, photographs, text)
        if best is None or found < least:
            best, least = replace(made, provenance=replace(made.provenance, start=number)), found
        best = replace(best, provenance=replace(best.provenance, starts=number + 1))
        if kept is not None:
            kept.save(best)
    assert best is not None, "there is at least one start"
    progress("starts", starts, starts, f"error {math.exp(least):.3f}")
    return best


@torch.no_grad()
def distance(network: SpanDeploy, made: QuantizedSpan, photographs: Tensor, text: Tensor) -> float:
    """How far a quantized network is from the float one.

    Args:
        network: the float network.
        made: what was made of it.
        photographs: (N, C, H, W) in [0, 1].
        text: the same; may be empty.

    Returns:
        log(error on photographs) + `TEXT_COUNTS` log(error on text), errors squared in 8-bit levels.
    """

    def error(lr_nchw: Tensor) -> float:
        squared = 0.0
        for part in torch.split(lr_nchw, AT_ONCE):
            aim = network(part).clamp(0, 1)
            squared += len(part) * float(output_error(simulate(made, part).clamp(0, 1), aim))
        return max(255**2 * squared / len(lr_nchw), torch.finfo(torch.float32).tiny)

    return math.log(error(photographs)) + (TEXT_COUNTS * math.log(error(text)) if len(text) else 0.0)


def _judged_on(network: SpanDeploy, calibration: CalibrationSet) -> tuple[Tensor, Tensor]:
    """Crops of the photographs, half of them turned, and pages of text."""
    crops = calibration.crops(JUDGED_CROPS, JUDGED_SIDE, draw=JUDGED_DRAW)
    drawn = pages(2 * JUDGED_PAGES, JUDGED_SIDE // 2, channels=crops.shape[1], seed=JUDGED_SEED)
    text = small(drawn)
    return torch.cat([crops, crops.transpose(2, 3)]), text[mastered(network, text)]


def _counted(progress: Progress, number: int, starts: int, least: float) -> Progress:
    """`progress`, told of a start's stages as of one of several."""

    def tell(stage: str, done: int, total: int, detail: str = "") -> None:
        so_far = "" if math.isinf(least) else f", least error {math.exp(least):.3f}"
        progress("starts", number, starts, f"{stage} {done} of {total}{so_far}")

    return tell
