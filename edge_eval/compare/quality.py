"""What each timed file costs in quality, beside its time."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.progress import Progress, silent

from ..evaluate import FloatReference, Subject, evaluate
from ..runtimes.table import open_runner

if TYPE_CHECKING:
    from models.deploy import SpanDeploy

    from ..datasets import Dataset

TILE = (512, 512)
"""For networks that take any size, so that large photographs fit in memory; the result is the same."""


class Judge:
    """Holds files against the float network on a dataset; each file on each runtime once.

    Args:
        network: the float network, folded.
        dataset: images of its scale.
        threads: CPU threads.
    """

    def __init__(self, network: "SpanDeploy", dataset: "Dataset", *, threads: int | None = None) -> None:
        self._threads = threads
        runner = open_runner(network, runtime="torch", threads=threads)
        self._reference = FloatReference(runner, dataset, radius=network.receptive_radius, tile=TILE)

    def quality(self, path: Path, runtime: str, *, progress: Progress = silent) -> dict[str, Any]:
        """`quality` of a result of `bench --json`.

        Raises:
            InputError: the file cannot be run on an image.
        """
        runner = open_runner(path, runtime=runtime, threads=self._threads)
        subject = Subject(artifact=path.name, sha256="", format="", recipe="", method=None)
        done = evaluate(runner, self._reference, subject, small="mirror", tile=TILE, progress=progress)
        return {
            "dataset": done.dataset,
            "images": len(done.per_image),
            "psnr_y_db": done.psnr_y_db,
            "float_psnr_y_db": done.float_psnr_y_db,
            "drop_db": done.drop_db,
            "worst_drop_db": max((s.drop_db for s in done.per_image if s.drop_db is not None), default=None),
        }
