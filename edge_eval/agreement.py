"""How far files of different formats, made of one quantized network, give the same pixels."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import metrics
from .datasets import Sample
from .runner import FloatImage, to_frame


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """Two files' 8-bit outputs held against each other, over a data set.

    Attributes:
        first: name of a file.
        second: name of the other.
        recipe: row of `RECIPES` of both.
        images: on how many images; those that were mirrored for one of the files are left out.
        identical: on how many of them no pixel differs.
        psnr_db: mean of the others' PSNR over all channels, nothing cut; None where all are identical.
        least_psnr_db: the smallest.
        max_abs_8bit: largest difference in any channel of any pixel, in grey levels.
    """

    first: str
    second: str
    recipe: str
    images: int
    identical: int
    psnr_db: float | None
    least_psnr_db: float | None
    max_abs_8bit: int

    def to_json(self) -> dict[str, Any]:
        """An entry of `agreement` of `run.json`."""
        return asdict(self)


class Agreement:
    """Collects the outputs of files as they are evaluated, on disk, and compares those of one recipe.

    Args:
        folder: for the outputs; its owner removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outputs: dict[str, dict[str, dict[int, Path]]] = {}

    def collector(self, recipe: str, artifact: str) -> Callable[[Sample, FloatImage, FloatImage], None]:
        """A `look` for `evaluate` that keeps the 8-bit outputs of one file."""
        kept = self._outputs.setdefault(recipe, {}).setdefault(artifact, {})

        def keep(_sample: Sample, _expected: FloatImage, output: FloatImage) -> None:
            path = self._folder / f"{artifact}.{len(kept)}.npy"
            np.save(path, to_frame(output))
            kept[len(kept)] = path

        return keep

    def leave_out(self, recipe: str, artifact: str, images: Iterable[int]) -> None:
        """Forget a file's outputs on images, by their numbers."""
        for index in images:
            self._outputs[recipe][artifact].pop(index)

    def forget(self, recipe: str, artifact: str) -> None:
        """Forget a file that failed on the way."""
        self._outputs.get(recipe, {}).pop(artifact, None)

    def results(self) -> tuple[Agreed, ...]:
        """Each pair of files of one recipe, on the images that both have."""
        return tuple(
            _compared(recipe, names[i], names[j], outputs)
            for recipe, outputs in self._outputs.items()
            for names in [list(outputs)]
            for i in range(len(names))
            for j in range(i + 1, len(names))
        )


def _compared(recipe: str, first: str, second: str, outputs: dict[str, dict[int, Path]]) -> Agreed:
    figures, most = [], 0
    for index in sorted(outputs[first].keys() & outputs[second].keys()):
        frame, other = np.load(outputs[first][index]), np.load(outputs[second][index])
        figures.append(metrics.psnr_rgb_db(frame, other, border=0))
        most = max(most, metrics.max_abs_8bit(frame, other))
    known = [figure for figure in figures if figure is not None]
    return Agreed(
        first=first,
        second=second,
        recipe=recipe,
        images=len(figures),
        identical=len(figures) - len(known),
        psnr_db=metrics.mean_of(figures),
        least_psnr_db=min(known, default=None),
        max_abs_8bit=most,
    )
