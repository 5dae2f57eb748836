"""What a step of quantization-aware training costs beside a float step of the folded network."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import nn

from models import load_checkpoint, reparameterize
from models.training import LossWeights, training_loss
from models.training.compilation import compiled
from models.training.crops import Batch
from quantize import quantize_ptq
from quantize.kernels import TrainedName
from quantize.qat import trainable_from

RUNS = 15
LOSS = LossWeights(luma_share=0.7, distance="squared")


def step_of(network: nn.Module, batch: Batch, *, bfloat16: bool) -> Callable[[], float]:
    """Milliseconds of a forward and a backward pass and a step of Adam; of the process, not of the wall."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-9, fused=True)

    def step() -> float:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            upscaled = network(batch.lr)
        optimizer.zero_grad()
        training_loss(upscaled, batch, LOSS).backward()
        optimizer.step()
        return 1e3 * (time.process_time() - began)

    return step


@pytest.mark.bench
@pytest.mark.parametrize("bfloat16", [True, False])
def test_a_step_beside_a_float_step(shared_weights: Path, shared_images: Path, bfloat16: bool) -> None:
    from edge_eval.datasets import open_dataset

    network = reparameterize(load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth").network)
    frames = [sample.lr for sample in open_dataset(shared_images / "BSDS400", scale=4).first(3)]
    start = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    lr = torch.rand(8, 3, 32, 32)
    lr = lr.contiguous(memory_format=torch.channels_last)
    batch = Batch(lr=lr, hr=torch.rand(8, 3, 128, 128), teacher=None)
    floating = network.requires_grad_(True).to(memory_format=torch.channels_last).train()
    steps = {"float, folded": step_of(floating, batch, bfloat16=bfloat16)}
    ways: tuple[TrainedName, ...] = ("folded", "branches")
    for way in ways:
        steps[f"QAT, {way}"] = step_of(trainable_from(start, trained=way).train(), batch, bfloat16=bfloat16)
    steps["QAT, folded, compiled"] = step_of(
        compiled(trainable_from(start).train()), batch, bfloat16=bfloat16
    )
    steps["float, folded, compiled"] = step_of(compiled(floating), batch, bfloat16=bfloat16)
    frozen = trainable_from(start).train()
    frozen.log_scales.requires_grad_(False)
    steps["QAT, folded, scales fixed"] = step_of(frozen, batch, bfloat16=bfloat16)
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(RUNS):
        for name, step in steps.items():
            times[name].append(step())
    base = median(times["float, folded"])
    kind = "bfloat16" if bfloat16 else "float32"
    print(f"\n{kind} convolutions, {torch.get_num_threads()} threads, 8 crops of 32x32")
    for name, each in times.items():
        print(f"{name:28} {median(each):7.1f} ms of CPU  {median(each) / base:5.2f} of a float step")
