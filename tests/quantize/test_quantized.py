"""Quantized networks: rounding, files, refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

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


def broken(**changes: object) -> Callable[[dict[str, Any]], None]:
    """Changes the first group's node of a file's description."""
    return lambda meta: next(node for node in meta["nodes"] if node["op"] == "group").update(changes)


DAMAGES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (broken(of=0), "the groups of block_1.c3_r are not all there once"),
    (broken(number=9), "the groups of block_1.c3_r are not all there once"),
    (broken(of="two"), "'str' object cannot be interpreted as an integer"),
    (broken(op="exec"), "block_1.c3_r.0: 'exec' is no operation"),
    (broken(inputs=["nowhere"]), "the groups of nowhere are not all there once"),
    (lambda meta: meta["nodes"][0].update(inputs=["nowhere"]), "KeyError: 'nowhere'"),
    (lambda meta: meta["nodes"].pop(), "scales and tensors differ: upscaled"),
    (lambda meta: meta["activations"].pop("conv_1"), "scales and tensors differ: conv_1"),
    (lambda meta: meta["activations"]["conv_1"].update(scale=0.0), "conv_1: scale 0.0, zero point"),
    (lambda meta: meta["activations"]["conv_1"].update(zero_point=999), "zero point 999"),
    (lambda meta: meta["activations"]["conv_1"].update(dtype="int4"), "KeyError: 'int4'"),
    (lambda meta: meta["config"].update(upscale=3), "becomes|invalid|expects"),
]


@pytest.mark.parametrize("network", ["span"], indirect=True)
def test_damaged_descriptions_are_refused(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "q.safetensors"
    quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke").save(path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    for change, said in DAMAGES:
        meta = json.loads(metadata["quantized"])
        change(meta)
        save_file(tensors, path, metadata={**metadata, "quantized": json.dumps(meta)})
        with pytest.raises(InputError, match=f"is damaged .*({said})") as caught:
            load_quantized(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", ["span"], indirect=True)
def test_numbers_that_are_none_are_refused(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    made = quantize_ptq(network, recipe="w8a8", images=frames, effort="smoke")
    made.weights["conv_1"].scale[0] = float("nan")
    made.save(tmp_path / "q.safetensors")
    with pytest.raises(InputError, match="conv_1: a scale or a bias is not finite"):
        load_quantized(tmp_path / "q.safetensors")
