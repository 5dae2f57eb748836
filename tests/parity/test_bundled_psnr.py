"""Bundled checkpoints give the PSNR-Y that their model cards state, by the tool's own evaluation."""

from pathlib import Path

import pytest

from edge_eval.datasets import open_dataset
from edge_eval.evaluate import FloatReference, Subject, evaluate
from edge_eval.runtimes.table import open_runner
from edge_eval.tolerances import limit
from models import load_checkpoint, reparameterize
from models.bundled import bundled_names, describe

SETS = ("Set5", "Set14", "B100")


def psnr_y_db(name: str, folder: Path) -> float:
    checkpoint = load_checkpoint(name)
    network = reparameterize(checkpoint.network)
    runner = open_runner(network)
    reference = FloatReference(
        runner, open_dataset(folder, scale=runner.scale), radius=network.receptive_radius
    )
    found = evaluate(runner, reference, Subject.of(checkpoint)).psnr_y_db
    assert found is not None
    return found


@pytest.mark.parametrize("name", bundled_names())
@pytest.mark.parametrize(
    "dataset",
    [pytest.param(dataset, marks=() if dataset == "Set5" else pytest.mark.slow) for dataset in SETS],
)
def test_stated_psnr(shared_images: Path, name: str, dataset: str) -> None:
    stated = describe(name).measured.psnr_y_db[dataset]
    found = psnr_y_db(name, shared_images / dataset)
    print(f"{name} {dataset}: {found:.4f} dB, stated {stated:.3f} dB")
    assert abs(found - stated) <= limit("stated_psnr_y")
