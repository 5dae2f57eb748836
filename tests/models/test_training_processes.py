"""Several processes train what one does."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models import InputError
from models.training import open_processes

PROGRAM = """
import sys
import torch
from safetensors.torch import save_file
from models import SpanConfig
from models.training import CropSource, FoldedSpan, ParameterGroup, TrainingPair, TrainingPlan
from models.training import initialize, open_processes, train
import numpy as np

torch.set_num_threads(1)
draw = np.random.default_rng(0)
lr = [draw.integers(256, size=(12, 12, 3), dtype=np.uint8) for _ in range(3)]
pairs = [TrainingPair(name=str(k), lr=one, hr=one.repeat(2, 0).repeat(2, 1)) for k, one in enumerate(lr)]
crops = CropSource(pairs, scale=2, crop=8)
config = SpanConfig(feature_channels=4, concat_channels=4, upscale=2, img_range=1.0)
network = FoldedSpan(initialize(config, seed=0, sample=crops.batch(size=2, seed=0, step=0).lr))
processes = open_processes("cpu")
result = train(
    network,
    groups=[ParameterGroup(names=tuple(name for name, _ in network.named_parameters()), lr=1e-3)],
    crops=crops,
    validation=pairs,
    plan=TrainingPlan(steps=4, batch=4, validate_every=2),
    processes=processes,
)
if processes.rank == 0:
    curve = torch.tensor([(point.loss, point.psnr_y_db) for point in result.curve], dtype=torch.float64)
    tensors = {**result.network.state_dict(), "curve": curve, "world": torch.tensor(processes.world)}
    save_file(tensors, sys.argv[1])
"""


def test_two_processes_train_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate", reason="several processes need the extra 'train'")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(program), str(tmp_path / "one.safetensors")])
    runpy.run_path(str(program))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(program), str(tmp_path / "two.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert int(one.pop("world")) == 1 and int(two.pop("world")) == 2
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5, msg=name)


def test_several_processes_need_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"needs Hugging Face Accelerate: pip install 'span-edge\[train\]'"):
        open_processes("cpu")


def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert open_processes().device.type == "cpu"
    with pytest.raises(InputError, match=r"torch finds no GPU here; leave --device out"):
        open_processes("cuda")
    with pytest.raises(InputError, match=r"no device 'tpu'; give auto, cpu or cuda"):
        open_processes("tpu")
