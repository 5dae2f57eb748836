"""Two processes on CPUs train a quantized network to what one does."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quantize import load_quantized

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
import torch
from models import SpanConfig, SpanDeploy
from models.training import LossWeights, TrainingPair, TrainingPlan, open_processes
from quantize import quantize_ptq
from quantize.qat import QatSettings, quantize_qat

torch.set_num_threads(1)
torch.manual_seed(0)
config = SpanConfig(feature_channels=4, concat_channels=4, upscale=2)
network = SpanDeploy(config).eval().requires_grad_(False)
draw = np.random.default_rng(0)
lr = [draw.integers(256, size=(18, 18, 3), dtype=np.uint8) for _ in range(3)]
pairs = [TrainingPair(name=str(k), lr=one, hr=one.repeat(2, 0).repeat(2, 1)) for k, one in enumerate(lr)]
start = quantize_ptq(network, recipe="w8a8", images=lr, effort="smoke")
processes = open_processes("cpu")
plan = TrainingPlan(
    steps=4,
    batch=4,
    validate_every=2,
    loss=LossWeights(distance="squared"),
    clip_norm=None,
    compiled=sys.argv[2] == "compiled",
)
result = quantize_qat(
    network,
    start,
    training=pairs[:2],
    held_out=pairs[2:],
    settings=QatSettings(plan=plan, crop=12),
    processes=processes,
)
if processes.rank == 0:
    made = result.training.network.quantized()
    made.save(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("how", ["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def test_two_processes_train_what_one_does(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate", reason="several processes need the extra 'train'")
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(program), str(tmp_path / "one.safetensors"), how])
    threads = torch.get_num_threads()
    runpy.run_path(str(program))
    torch.set_num_threads(threads)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(program), str(tmp_path / "two.safetensors"), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = (load_quantized(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name, weight in one.weights.items():
        assert int((weight.values.int() - two.weights[name].values.int()).abs().max()) <= 1, name
        torch.testing.assert_close(two.weights[name].scale, weight.scale, rtol=1e-4, atol=0)
        torch.testing.assert_close(two.weights[name].bias, weight.bias, rtol=1e-3, atol=1e-4)
    for name, qparams in one.activations.items():
        assert two.activations[name].scale == pytest.approx(qparams.scale, rel=1e-3)
