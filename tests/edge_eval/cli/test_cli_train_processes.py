"""`span-edge train` under a launcher: two processes train what one does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models import load_checkpoint

pytestmark = pytest.mark.slow

Launch = Callable[..., Path]

LAUNCHERS = {
    "torchrun": ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node"),
    # On a computer without a GPU this too starts processes on the CPU; without --multi_gpu it starts one.
    "accelerate": ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes"),
}

PROGRAM = "import torch; torch.set_num_threads(1); from edge_eval.cli import main; main()"


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """`span-edge train` in so many processes, on four images of coarse noise; gives the checkpoint back."""
    pytest.importorskip("accelerate", reason="several processes need the extra 'train'")
    folder = tmp_path / "photographs"
    folder.mkdir()
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(256, size=(12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC).save(folder / f"{seed}.png")
    program = tmp_path / "span_edge.py"
    program.write_text(PROGRAM)

    def call(name: str, *arguments: object, launcher: str | None = None) -> Path:
        out = tmp_path / f"{name}.safetensors"
        start = [*LAUNCHERS[launcher], 2] if launcher else []
        settings = ["--channels", 4, "--scale", 2, "--batch", 4, "--crop", 8, "--validate-every", 2]
        command = [*start, program, "train", "--data", folder, "--hold-out", 2, *settings, "--out", out]
        words = [
            sys.executable,
            *map(str, [*command, "--precision", "float32", "--device", "cpu", *arguments]),
        ]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return out

    return call


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_train_what_one_does(launch: Launch, launcher: str) -> None:
    one = launch("one", "--steps", 6)
    two = launch("two", "--steps", 6, launcher=launcher)
    assert load_checkpoint(one).metadata["hours"].endswith("on 1 x cpu")
    assert load_checkpoint(two).metadata["hours"].endswith("on 2 x cpu")
    for name, tensor in load_file(one).items():
        torch.testing.assert_close(load_file(two)[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
