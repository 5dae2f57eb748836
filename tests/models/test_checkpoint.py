"""Checkpoints: every network in every form and wrapping is read back, and written."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_support import State, form_of, same
from safetensors.torch import load_file, save_file
from torch import Tensor

from models import (
    InputError,
    Span,
    SpanConfig,
    SpanDeploy,
    load_checkpoint,
    reparameterize,
    save_checkpoint,
)


def options(config: SpanConfig) -> dict[str, Any]:
    return {"img_range": config.img_range, "rgb_mean": config.rgb_mean} if config.normalize else {}


@pytest.mark.parametrize("form", ["training", "folded", "both"])
def test_every_form_of_every_network(span: Span, form: str, file: Path) -> None:
    torch.save({"params": form_of(span, form)}, file)
    checkpoint = load_checkpoint(file, **options(span.config))
    assert checkpoint.config == span.config
    assert checkpoint.form == form
    assert checkpoint.notes == ()
    assert isinstance(checkpoint.network, SpanDeploy if form == "folded" else Span)
    assert not checkpoint.network.training
    assert same(checkpoint.network, span)
    assert (checkpoint.name, checkpoint.path, len(checkpoint.sha256)) == ("network", file, 64)


def test_published_default_normalization(x4_span: Span, file: Path) -> None:
    torch.save(form_of(x4_span, "folded"), file)
    config = load_checkpoint(str(file)).config
    assert config == x4_span.config
    assert (config.img_range, config.rgb_mean) == (255.0, (0.4488, 0.4371, 0.4040))


WRAPPINGS: dict[str, Callable[[State], object]] = {
    "bare": lambda s: s,
    "params_ema": lambda s: {"params_ema": s},
    "params": lambda s: {"params": s, "iter": 5},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": None},
    "nested": lambda s: {"model": {"state_dict": {"params_ema": s}}},
    "data_parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled_data_parallel": lambda s: {"params": {f"module._orig_mod.{k}": v for k, v in s.items()}},
    "plain_names": lambda s: {k.replace(".eval_conv", ""): v for k, v in s.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappings(x4_span: Span, wrapping: str, file: Path) -> None:
    torch.save(WRAPPINGS[wrapping](form_of(x4_span, "folded")), file)
    assert same(load_checkpoint(file).network, x4_span)


def test_the_average_is_used_and_said(x4_span: Span, file: Path) -> None:
    good = form_of(x4_span, "folded")
    torch.save({"params": {k: v * 0 for k, v in good.items()}, "params_ema": good}, file)
    checkpoint = load_checkpoint(file)
    assert same(checkpoint.network, x4_span)
    assert checkpoint.notes == ("the file holds params_ema and params; params_ema is used",)


@pytest.mark.parametrize("form", ["training", "folded"])
def test_legacy_pickle(x4_span: Span, form: str, file: Path) -> None:
    torch.save(form_of(x4_span, form), file, _use_new_zipfile_serialization=False)
    assert same(load_checkpoint(file).network, x4_span)


def test_plain_safetensors(x4_span: Span, tmp_path: Path) -> None:
    save_file(form_of(x4_span, "both"), tmp_path / "a.safetensors", metadata={"author": "someone"})
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.form == "both"
    assert checkpoint.metadata == {"author": "someone"}
    assert same(checkpoint.network, x4_span)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float64, 0.0)],
)
def test_other_floats_become_float32(x4_span: Span, dtype: torch.dtype, tolerance: float, file: Path) -> None:
    torch.save({k: v.to(dtype) for k, v in form_of(x4_span, "both").items()}, file)
    checkpoint = load_checkpoint(file)
    assert all(p.dtype == torch.float32 for p in checkpoint.network.parameters())
    assert checkpoint.notes == ()
    assert same(checkpoint.network, x4_span, tolerance)


@pytest.mark.parametrize(
    "changes",
    [
        {"upscale": 1},
        {"upscale": 3},
        {"upscale": 8},
        {"feature_channels": 1, "concat_channels": 1},
        {"feature_channels": 20, "concat_channels": 9},
        {"in_channels": 1, "out_channels": 1},
        {"in_channels": 4, "out_channels": 4, "upscale": 4},
    ],
    ids=str,
)
def test_sizes_are_read_off_the_shapes(
    config: SpanConfig, changes: Mapping[str, int], make_span: Callable[[SpanConfig], Span], file: Path
) -> None:
    mean = (
        (0.4488, 0.4371, 0.4040) if changes.get("in_channels", 3) == 3 else (0.43,) * changes["in_channels"]
    )
    config = replace(config, img_range=255.0, rgb_mean=mean, **changes)
    span = make_span(config)
    for form in ("training", "folded"):
        torch.save(form_of(span, form), file)
        checkpoint = load_checkpoint(file)
        assert checkpoint.config == config
        assumed = config.normalize and config.in_channels != 3
        assert any("0.43 is assumed" in note for note in checkpoint.notes) == assumed
        assert same(checkpoint.network, span)


def test_other_output_channels_are_assumed_where_only_one_number_fits(
    make_span: Callable[[SpanConfig], Span], x4_span: Span, file: Path
) -> None:
    span = make_span(replace(x4_span.config, in_channels=1, rgb_mean=(0.43,)))
    torch.save(form_of(span, "folded"), file)
    checkpoint = load_checkpoint(file, rgb_mean=(0.43,))
    assert checkpoint.config == span.config
    assert checkpoint.notes == ("3 output channels at x4 are assumed",)


@pytest.mark.parametrize("marker", [torch.zeros(1), torch.tensor(True), torch.tensor(1, dtype=torch.uint8)])
def test_no_norm_marker(x4_span: Span, marker: Tensor, file: Path) -> None:
    torch.save({**form_of(x4_span, "folded"), "no_norm": marker}, file)
    checkpoint = load_checkpoint(file)
    assert not checkpoint.config.normalize
    deploy = SpanDeploy(replace(x4_span.config, normalize=False))
    deploy.load_state_dict(reparameterize(x4_span).state_dict())
    assert same(checkpoint.network, deploy)
    assert not same(checkpoint.network, x4_span)


def test_a_stale_eval_conv_is_folded_again_and_said(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "both")
    state["block_3.c2_r.eval_conv.weight"] = state["block_3.c2_r.eval_conv.weight"] * 1.5
    torch.save(state, file)
    checkpoint = load_checkpoint(file)
    assert same(reparameterize(checkpoint.network), x4_span)
    (note,) = checkpoint.notes
    assert note == (
        "the stored eval_conv of 1 convolutions is stale (off by up to 0.5 of the largest weight, "
        "in block_3.c2_r); they are folded again from the branches"
    )


def test_options_replace_the_normalization(x4_span: Span, file: Path) -> None:
    torch.save(form_of(x4_span, "folded"), file)
    config = load_checkpoint(file, img_range=1, rgb_mean=(0, 0.5, 1)).config
    assert (config.img_range, config.rgb_mean) == (1.0, (0.0, 0.5, 1.0))


@pytest.mark.parametrize("folded", [False, True])
def test_save_and_load(span: Span, folded: bool, tmp_path: Path) -> None:
    network = reparameterize(span) if folded else span
    path = tmp_path / "made.safetensors"
    save_checkpoint(network, path, {"trained_on": "photographs"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == span.config
    assert checkpoint.form == ("folded" if folded else "training")
    assert checkpoint.metadata == {"trained_on": "photographs"}
    assert checkpoint.notes == ()
    assert same(checkpoint.network, span)
    with pytest.raises(InputError, match="exists already; give --overwrite"):
        save_checkpoint(network, path)
    save_checkpoint(network, path, overwrite=True)


def test_saved_config_tells_what_shapes_cannot(
    make_span: Callable[[SpanConfig], Span], x4_span: Span, tmp_path: Path
) -> None:
    grey_to_rgb = replace(x4_span.config, in_channels=1, rgb_mean=(0.3,), img_range=1.0, upscale=2)
    no_norm = replace(x4_span.config, normalize=False)
    for config in (grey_to_rgb, no_norm):
        save_checkpoint(make_span(config), tmp_path / "a.safetensors", overwrite=True)
        checkpoint = load_checkpoint(tmp_path / "a.safetensors")
        assert checkpoint.config == config
        assert checkpoint.notes == ()


def test_save_wants_safetensors(span: Span, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="cannot save a checkpoint as a.pth; give a name that ends in .safet"
    ):
        save_checkpoint(span, tmp_path / "a.pth")


def test_what_is_derived_is_not_written(x4_span: Span, tmp_path: Path) -> None:
    save_checkpoint(x4_span, tmp_path / "a.safetensors")
    assert load_file(tmp_path / "a.safetensors").keys() == x4_span.state_dict().keys()


def test_others_may_read_what_is_written(span: Span, tmp_path: Path) -> None:
    (tmp_path / "any").write_text("")
    save_checkpoint(span, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_full_disk(span: Span, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _content: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(InputError) as caught:
        save_checkpoint(span, tmp_path / "a.safetensors")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a.safetensors'}: No space left on device; nothing was changed"
    )
    assert list(tmp_path.iterdir()) == []
