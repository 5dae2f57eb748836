"""The image on which a file loses most, kept for the report's pictures while a dataset is evaluated."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from . import metrics
from .datasets import Sample
from .report_data import Picture
from .report_pictures import save_pictures
from .runner import FloatImage, Frame, to_frame


@dataclass(frozen=True, kw_only=True)
class _Seen:
    badness: tuple[float, float]
    drop_db: float | None
    sample: Sample
    float_frame: Frame
    artifact_frame: Frame


class WorstImage:
    """Give it as `look` to `evaluate`; it keeps the frames of the image with the largest drop, or drift."""

    def __init__(self) -> None:
        self._worst: _Seen | None = None

    def __call__(self, sample: Sample, expected: FloatImage, output: FloatImage) -> None:
        """Look at one image: what it is, the float output and the file's."""
        float_frame, artifact_frame = to_frame(expected), to_frame(output)
        border = float_frame.shape[0] // sample.lr.shape[0]
        drop_db = None
        if sample.hr is not None:
            drop_db = _difference(
                metrics.psnr_y_db(float_frame, sample.hr, border=border),
                metrics.psnr_y_db(artifact_frame, sample.hr, border=border),
            )
        drift_db = metrics.psnr_y_db(artifact_frame, float_frame, border=border)
        badness = (
            -math.inf if drop_db is None else drop_db,
            -math.inf if drift_db is None else -drift_db,
        )
        if self._worst is None or badness > self._worst.badness:
            self._worst = _Seen(
                badness=badness,
                drop_db=drop_db,
                sample=sample,
                float_frame=float_frame,
                artifact_frame=artifact_frame,
            )

    def save(self, folder: Path, *, root: Path, artifact: str) -> Picture | None:
        """The pictures of the worst image, in a folder of their own; None where no image was seen."""
        worst = self._worst
        if worst is None:
            return None
        return save_pictures(
            input_frame=worst.sample.lr,
            float_frame=worst.float_frame,
            artifact_frame=worst.artifact_frame,
            folder=folder / re.sub(r"[^\w.-]", "_", artifact),
            root=root,
            artifact=artifact,
            image=worst.sample.name,
            drop_db=worst.drop_db,
        )


def _difference(float_db: float | None, artifact_db: float | None) -> float | None:
    return None if float_db is None or artifact_db is None else float_db - artifact_db
