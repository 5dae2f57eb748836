"""Quantization-aware training of the official networks beats PTQ on every set, through the TFLite file."""

import json
from pathlib import Path

import click.testing
import pytest

from edge_eval.cli import span_edge

STEPS = 600
"""Five minutes or so of one core beside PTQ: a part of the hour for which the figures in docs/qat.md are."""

SETS = ("Set5", "Set14")

pytestmark = pytest.mark.slow


def run(*words: object) -> None:
    result = click.testing.CliRunner().invoke(span_edge, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def drops_db(file: Path, checkpoint: Path, images: Path, folder: Path) -> dict[str, float]:
    """What a quantized checkpoint loses through its TFLite file, per set."""
    artifact = folder / f"{file.stem}.tflite"
    run("convert", file, "--format", "tflite", "-o", artifact)
    drops = {}
    for name in SETS:
        target = folder / f"{file.stem}_{name}.json"
        run("eval", artifact, "--reference", checkpoint, "--data", images / name, "--json", target)
        drops[name] = json.loads(target.read_text())["results"][0]["drop_db"]
    return drops


@pytest.mark.parametrize("scale", [4, 2])
def test_training_beats_ptq_through_the_file(
    scale: int, tmp_path: Path, shared_weights: Path, shared_images: Path
) -> None:
    checkpoint, data = shared_weights / f"spanx{scale}_ch48_deploy.pth", shared_images / "BSDS400"
    ptq, qat, facts = (tmp_path / name for name in ("ptq.safetensors", "qat.safetensors", "qat.json"))
    run("quantize", checkpoint, "--data", data, "-o", ptq)
    training = ("--method", "qat", "--reference", checkpoint, "--data", data, "--steps", STEPS)
    run("quantize", ptq, *training, "--json", facts, "-o", qat)
    trained = json.loads(facts.read_text())["training"]
    before, after = (drops_db(file, checkpoint, shared_images, tmp_path) for file in (ptq, qat))
    print(f"x{scale}: held out {trained['gained_db']:+.3f} dB, PTQ {before}, QAT {after}")
    assert trained["gained_db"] > 0.01
    assert all(after[name] < before[name] for name in SETS)
