"""Quantized networks: rounding, files, refusals."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import InputError, SpanDeploy
from quantize import QParams, load_quantized, quantize_ptq, simulate
from quantize.recipe import RECIPES


def test_rounding_is_to_the_nearest_that_can_be_stored() -> None:
    qparams = QParams(scale=0.5, zero_point=-100)
    given = torch.tensor([-100.0, -14.0, -0.2, 0.0, 0.25, 0.75, 113.4, 500.0])
    assert qparams.rounded(given).tolist() == [-14.0, -14.0, 0.0, 0.0, 0.0, 1.0, 113.5, 113.5]
    assert (qparams.low, qparams.high) == (-14.0, 113.5)


@pytest.mark.parametrize("recipe", [name for name, row in RECIPES.items() if row.calibrated])
def test_saved_and_loaded_networks_compute_the_same(
    recipe: str, network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    quantized = quantize_ptq(network, recipe=recipe, images=frames, effort="smoke")
    quantized.save(tmp_path / "q.safetensors")
    loaded = load_quantized(tmp_path / "q.safetensors")
    lr = torch.from_numpy(frames[0]).permute(2, 0, 1)[None] / 255
    assert torch.equal(simulate(loaded, lr), simulate(quantized, lr))
    assert loaded.provenance == quantized.provenance
    assert loaded.activations == quantized.activations


def test_an_existing_file_is_kept(network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path) -> None:
    quantized = quantize_ptq(network, recipe="w8", images=frames, effort="smoke")
    (tmp_path / "q.safetensors").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        quantized.save(tmp_path / "q.safetensors")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "q.safetensors").write_bytes(b"no safetensors at all")
    with pytest.raises(InputError, match="cannot read .* as safetensors"):
        load_quantized(tmp_path / "q.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="no quantized network of version 1"):
        load_quantized(tmp_path / "other.safetensors")
    save_file(
        {"a": torch.zeros(1)},
        tmp_path / "damaged.safetensors",
        metadata={"kind": "span-edge quantized network", "version": "1", "quantized": "{}"},
    )
    with pytest.raises(InputError, match="is damaged"):
        load_quantized(tmp_path / "damaged.safetensors")
