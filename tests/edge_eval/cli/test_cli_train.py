"""`span-edge train`: photographs in, a checkpoint with its history out, refusals that say what to do."""

import signal
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models import Span, load_checkpoint

Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three images of 40x40 noise."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(256, size=(40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def train(invoke: Invoke, photographs: Path, tmp_path: Path) -> Callable[..., click.testing.Result]:
    """The command on the three images, into `small.safetensors`."""
    settings = (
        "--channels",
        4,
        "--scale",
        2,
        "--batch",
        2,
        "--crop",
        8,
        "--validate-every",
        2,
        "--hold-out",
        1,
    )

    def call(*arguments: object, steps: int = 4) -> click.testing.Result:
        out = tmp_path / "small.safetensors"
        return invoke("train", "--data", photographs, *settings, "--steps", steps, "--out", out, *arguments)

    return call


def test_checkpoint_tells_where_it_comes_from(train: Invoke, tmp_path: Path, network_file: Path) -> None:
    result = train("--teacher", network_file)
    assert result.exit_code == 0, result.output
    assert "held-out PSNR-Y" in result.output and "4 steps" in result.output
    assert "dB, 0.0 min left" in result.output
    checkpoint = load_checkpoint(tmp_path / "small.safetensors")
    assert isinstance(checkpoint.network, Span) and checkpoint.notes == ()
    assert (checkpoint.config.upscale, checkpoint.config.feature_channels, checkpoint.config.img_range) == (
        2,
        4,
        255.0,
    )
    told = checkpoint.metadata
    assert told["training_data"].startswith("photographs: 2 images, sha256 ")
    assert (told["steps"], told["seed"], told["ended"]) == ("4", "0", "finished")
    assert told["teacher"] == f"small.safetensors, sha256 {load_checkpoint(network_file).sha256}"
    assert told["loss"] == "0.5 x difference to the original, 0.5 x difference to the teacher"
    assert told["command"].startswith("span-edge train --data photographs --hold-out 1 --scale 2")
    assert str(tmp_path) not in str(told)
    assert float(told["held_out_psnr_y_db"]) > 3


def test_interrupted_and_resumed(train: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from models.training import engine

    factor = engine.step_size_factor

    def interrupt(*arguments: object) -> float:
        signal.raise_signal(signal.SIGINT)
        return factor(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "step_size_factor", interrupt)
        stopped = train()
    assert (
        "interrupted: the same command with --resume goes on" in stopped.output
        and "1 steps" in stopped.output
    )
    assert load_checkpoint(tmp_path / "small.safetensors").metadata["ended"] == "interrupted"
    assert train("--resume").exit_code == 0
    resumed = load_file(tmp_path / "small.safetensors")
    assert train("--overwrite").exit_code == 0
    whole = load_file(tmp_path / "small.safetensors")
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_bundled_checkpoint_teaches_under_its_name(train: Invoke, tmp_path: Path) -> None:
    assert train("--teacher", "span_x2_ch28").exit_code == 0
    told = load_checkpoint(tmp_path / "small.safetensors").metadata
    assert "--teacher span_x2_ch28 " in told["command"]
    assert told["teacher"].endswith(load_checkpoint("span_x2_ch28").sha256)


def test_the_loss_between_spectra_counts(train: Invoke, tmp_path: Path) -> None:
    without, with_it = (
        (train("--overwrite", *given).exit_code, load_file(tmp_path / "small.safetensors"))
        for given in ((), ("--frequency", 0.1))
    )
    assert without[0] == with_it[0] == 0
    assert not torch.equal(without[1]["conv_1.sk.weight"], with_it[1]["conv_1.sk.weight"])
    told = load_checkpoint(tmp_path / "small.safetensors").metadata["loss"]
    assert told == "1 x difference to the original, 0.1 x difference between spectra"


def refusal(result: click.testing.Result) -> str:
    assert result.exit_code == 1 or isinstance(result.exception, SystemExit), result.output
    return str(result.exception) + result.output


def test_files_that_are_there_are_refused(train: Invoke, tmp_path: Path) -> None:
    assert "small.training.safetensors to resume from; leave --resume out" in refusal(train("--resume"))
    train()
    assert "exists already; give --overwrite" in refusal(train())
    (tmp_path / "small.safetensors").unlink()
    assert "small.training.safetensors is the state of an unfinished training; give --resume" in refusal(
        train()
    )
    assert "steps was 4, is 6" in refusal(train("--resume", steps=6))


def test_wrong_settings_are_refused(train: Invoke, tmp_path: Path, network_file: Path) -> None:
    assert "cannot hold out 3 of the 3 images" in refusal(train("--hold-out", 3))
    assert "name that ends in .safetensors" in refusal(train("--out", tmp_path / "network.pth"))
    assert "upscales 3 channels 2 times and cannot teach a network that upscales RGB 4 times" in refusal(
        train("--scale", 4, "--crop", 8, "--teacher", network_file)
    )
    assert "either a number of steps or a number of minutes" in refusal(train("--minutes", 1))
    assert "too small for crops of 32" in refusal(train("--crop", 32))
    assert not (tmp_path / "small.safetensors").exists()


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_eval.training import in_bfloat16

    assert in_bfloat16("bfloat16", "cpu") and not in_bfloat16("float32", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for able in (False, True):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able})
        assert in_bfloat16("auto", "auto") is able
