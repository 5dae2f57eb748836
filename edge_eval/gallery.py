"""What every file made of the same parts of the same images, kept for the report as they are evaluated."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import metrics
from .datasets import Sample
from .report_pictures import Place, Scene, affordable_side, file_name, place_of, save_picture
from .resize import imresize
from .runner import FloatImage, Frame, to_frame

MOST_SCENES = 4
"""Images that a report shows."""
OTHERS = 3
"""Pictures beside the artifacts' of one scene: bicubic, float, original. The input is small."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One file's output on one image."""

    path: Path
    drop_db: float | None
    drift_db: float | None

    @property
    def badness(self) -> tuple[float, float]:
        """Larger for more loss, or more drift where no loss is known."""
        return (
            -math.inf if self.drop_db is None else self.drop_db,
            -math.inf if self.drift_db is None else -self.drift_db,
        )


class Gallery:
    """Collects parts of outputs on disk, and writes the pictures of the images on which most is lost.

    The first file that is evaluated on an image decides which part of it is kept: where that file differs
    most from the float network.

    Args:
        folder: for what is kept; its owner removes it.
        artifacts: how many files will be shown; the more, the smaller the part.
        images: how many images there are.
    """

    def __init__(self, folder: Path, *, artifacts: int, images: int) -> None:
        self._folder = folder
        self._side = affordable_side(min(images, MOST_SCENES) * (artifacts + OTHERS))
        self._places: dict[int, tuple[str, Place]] = {}
        self._outputs: dict[str, dict[int, _Seen]] = {}

    def collector(self, artifact: str) -> Callable[[Sample, FloatImage, FloatImage], None]:
        """A `look` for `evaluate` that keeps one file's outputs."""
        kept = self._outputs.setdefault(artifact, {})
        count = iter(range(1 << 30))

        def keep(sample: Sample, expected: FloatImage, output: FloatImage) -> None:
            index = next(count)
            float_frame, frame = to_frame(expected), to_frame(output)
            scale = frame.shape[0] // sample.lr.shape[0]
            if index not in self._places:
                place = place_of(sample.name, float_frame, frame, scale=scale, side=self._side)
                self._places[index] = (artifact, place)
                self._keep_others(index, place, sample, float_frame)
            path = self._folder / f"{file_name(artifact)}.{index}.part.npy"
            np.save(path, self._places[index][1].cut(frame))
            kept[index] = _Seen(
                path=path,
                drop_db=_drop_db(sample, float_frame, frame, border=scale),
                drift_db=metrics.psnr_y_db(frame, float_frame, border=scale),
            )

        return keep

    def leave_out(self, artifact: str, images: Iterable[int]) -> None:
        """Forget a file's outputs on images, by their numbers; the next file decides on the part anew."""
        for index in images:
            self._outputs[artifact].pop(index, None)
            if self._places[index][0] == artifact:
                self._places.pop(index)

    def forget(self, artifact: str) -> None:
        """Forget a file that failed on the way."""
        self.leave_out(artifact, list(self._outputs.get(artifact, {})))
        self._outputs.pop(artifact, None)

    def save(self, folder: Path, *, root: Path, artifacts: Sequence[str]) -> tuple[Scene, ...]:
        """Write the pictures of the images on which these files lose most, that image first.

        Args:
            folder: gets one folder per image.
            root: file names are given relative to it.
            artifacts: names of files; those that were not collected are left out.
        """
        shown = [name for name in artifacts if self._outputs.get(name)]
        badness = {
            index: max(self._outputs[name][index].badness for name in shown if index in self._outputs[name])
            for index in sorted({index for name in shown for index in self._outputs[name]})
        }
        worst = sorted(badness, key=lambda index: badness[index], reverse=True)[:MOST_SCENES]
        return tuple(self._save_scene(index, shown, folder, root) for index in worst)

    def _save_scene(self, index: int, shown: Sequence[str], folder: Path, root: Path) -> Scene:
        place = self._places[index][1]
        own = folder / f"{index + 1}-{file_name(place.image)}"
        seen = {name: self._outputs[name][index] for name in shown if index in self._outputs[name]}
        with np.load(self._others(index)) as others:
            files = {kind: save_picture(others[kind], own, kind, root=root) for kind in others}
        return Scene(
            image=place.image,
            scale=place.scale,
            crop=place.crop,
            frame_hw=place.frame_hw,
            files=files,
            artifacts={
                name: save_picture(np.load(one.path), own, name, root=root) for name, one in seen.items()
            },
            drops_db={name: one.drop_db for name, one in seen.items()},
        )

    def _keep_others(self, index: int, place: Place, sample: Sample, float_frame: Frame) -> None:
        """The pictures of one place that no converted file made."""
        frames = {
            "input": sample.lr,
            "bicubic": imresize(sample.lr, place.scale),
            "float": float_frame,
            **({} if sample.hr is None else {"original": sample.hr}),
        }
        cut = {kind: place.cut(frame) for kind, frame in frames.items()}
        np.savez(self._others(index), **cut)  # type: ignore[arg-type]

    def _others(self, index: int) -> Path:
        return self._folder / f"others.{index}.npz"


def _drop_db(sample: Sample, float_frame: Frame, frame: Frame, *, border: int) -> float | None:
    """What the artifact's frame loses; None without the truth, or where it is hit exactly."""
    if sample.hr is None:
        return None
    float_db = metrics.psnr_y_db(float_frame, sample.hr, border=border)
    own_db = metrics.psnr_y_db(frame, sample.hr, border=border)
    return None if float_db is None or own_db is None else float_db - own_db
