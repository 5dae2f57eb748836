"""How results are compared, and refusals caught."""

from typing import Any

import numpy as np
import pytest
import torch

from edge_eval.mil import Machine
from models.errors import InputError

IMAGE = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(5))
FRAME = np.random.default_rng(5).integers(0, 256, (16, 20, 3), dtype=np.uint8)


def in_float64(network: torch.nn.Module, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return network.double()(x.double()).numpy()


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 10 * np.log10(np.ptp(b) ** 2 / error)


def refusal(machine: Machine, inputs: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        machine.run(inputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)
