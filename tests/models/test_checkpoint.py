"""Checkpoints: every network in every form and wrapping is read back; all else is refused with the reason."""

import copy
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from models import (
    InputError,
    Span,
    SpanConfig,
    SpanDeploy,
    load_checkpoint,
    reparameterize,
    save_checkpoint,
    state_file,
)
from models.checkpoint import state_to_save
from models.recognition import CONFIG_KEY

State = dict[str, Tensor]


def form_of(span: Span, form: str) -> State:
    """The state dict of `span` as published files of that form have it."""
    both = state_to_save(span)
    if form == "training":
        return {name: value for name, value in both.items() if ".eval_conv." not in name}
    if form == "folded":
        return {name: value for name, value in both.items() if ".sk." not in name and ".conv." not in name}
    return both


def same(one: nn.Module, two: nn.Module, tolerance: float = 0.0) -> bool:
    """Whether both fold to the same config and the same weights, within a share of each largest weight."""
    a, b = reparameterize(one), reparameterize(two)
    return a.config == b.config and all(
        bool((value - b.state_dict()[name]).abs().max() <= tolerance * value.abs().max())
        for name, value in a.state_dict().items()
    )


def options(config: SpanConfig) -> dict[str, Any]:
    return {"img_range": config.img_range, "rgb_mean": config.rgb_mean} if config.normalize else {}


def refusal(file: Path, **given: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(file, **given)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    return message


# Round trips


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
    assert checkpoint.form == ("folded" if folded else "both")
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


def test_a_full_disk(span: Span, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **named: object) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    with pytest.raises(InputError) as caught:
        save_checkpoint(span, tmp_path / "a.safetensors")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a.safetensors'}: No space left on device; nothing was changed"
    )
    assert list(tmp_path.iterdir()) == []


# Refusals: files


def test_absent(file: Path) -> None:
    assert refusal(file) == f"{file} does not exist; give a checkpoint file (.pth, .pt or .safetensors)"


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give the checkpoint file in it"


def test_not_a_regular_file(file: Path) -> None:
    os.mkfifo(file)
    assert "is not a regular file" in refusal(file)


def test_empty(file: Path) -> None:
    file.write_bytes(b"")
    assert refusal(file) == f"{file} is empty; download or copy it again"


def test_no_permission(x4_span: Span, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(form_of(x4_span, "folded"), file)

    def refuse(self: Path, *given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(file) == f"cannot read {file}: Permission denied; check its name and permissions"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert ": File name too long; check its name and permissions" in refusal(tmp_path / ("a" * 600))


def test_too_large(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert "holds 1024 MiB, far more than any SPAN checkpoint; give a file of at most 1024 MiB" in refusal(
        file
    )


def test_zip_bomb(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "LARGEST_BYTES", 1 << 22)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    assert file.stat().st_size < 1 << 20
    assert "holds 16 MiB, far more than any SPAN checkpoint" in refusal(file)


def test_a_tensor_larger_than_its_storage(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "folded")
    state["conv_cat.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20, 1, 1)
    torch.save(state, file)
    assert "far more than any SPAN checkpoint" in refusal(file)


@pytest.mark.parametrize("content", [b"hello, this is text", b"\x89PNG\r\n\x1a\n" + bytes(40), b"x"])
def test_other_files(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert refusal(file) == (
        f"{file} is neither a PyTorch checkpoint (.pth, .pt) nor a .safetensors file; "
        "give a checkpoint saved by torch.save or safetensors"
    )


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.002, 0.1, 0.5, 0.95, 0.999])
def test_truncated(x4_span: Span, kind: str, kept: float, file: Path) -> None:
    state = form_of(x4_span, "folded")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: max(20, int(len(content) * kept))])
    assert "damaged" in refusal(file)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_at_random(kind: str, make_span: Callable[[SpanConfig], Span], file: Path) -> None:
    """Whatever bytes are changed, the file is refused in one line or loads: no other error comes out."""
    state = form_of(make_span(SpanConfig(feature_channels=1, concat_channels=1, upscale=1)), "folded")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    whole, dice, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(80):
        content = bytearray(whole)
        for _ in range(dice.choice([1, 3, 20])):
            content[dice.randrange(dice.choice([200, 3000, len(content)]))] = dice.randrange(256)
        file.write_bytes(content[: dice.choice([len(content), dice.randrange(len(content))])])
        try:
            load_checkpoint(file)
        except InputError:
            refused += 1
    assert refused > 40


def test_zip_of_something_else(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "damaged, truncated or not a checkpoint" in refusal(file)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_is_never_run(x4_span: Span, kind: str, file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    content = {"params": form_of(x4_span, "folded"), "extra": Payload(f"touch {proof}")}
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"extra": Payload(f"touch {proof}")}, protocol=4))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    message = refusal(file)
    assert not proof.exists()
    if kind != "pickle":
        assert (
            "wants to run code on loading (posix.system), which is never done; save the state dict" in message
        )
        torch.load(file, weights_only=False)
        assert proof.exists(), "the payload is harmless, so the test proves nothing"


def test_a_whole_network_is_refused(x4_span: Span, file: Path) -> None:
    torch.save(x4_span, file)
    assert "wants to run code on loading (models.span.Span), which is never done" in refusal(file)


# Refusals: contents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not named tensors; save the state dict"),
        (torch.zeros(3), "holds a Tensor, not named tensors"),
        (
            {},
            "holds no tensors; accepted is a state dict, bare or under params_ema, params, state_dict, model",
        ),
        ({"epoch": 3, "lr": 0.1}, "holds entries that are not tensors: epoch (int), lr (float)"),
        ({"params": {}}, "holds no tensors"),
    ],
)
def test_no_state_dict(content: object, message: str, file: Path) -> None:
    torch.save(content, file)
    assert message in refusal(file)


def test_another_architecture(file: Path) -> None:
    torch.save(
        {"conv_first.weight": torch.zeros(8, 3, 3, 3), "body.0.rdb1.weight": torch.zeros(8, 8, 3, 3)}, file
    )
    message = refusal(file)
    assert (
        f"{file} is not a SPAN: it has no block_1.c1_r beside upsampler.0 (SPAN) or conv_near (SPAN-F)"
        in message
    )
    assert "it holds body.0.rdb1.weight, conv_first.weight. Only these networks can be loaded" in message


def test_missing_and_unexpected(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "folded")
    del state["conv_2.eval_conv.bias"], state["conv_cat.weight"]
    state["block_7.c1_r.eval_conv.weight"] = torch.zeros(6, 6, 3, 3)
    torch.save(state, file)
    assert refusal(file) == (
        f"{file} is not a complete SPAN in folded form: 2 missing: conv_2.eval_conv.bias, conv_cat.weight; "
        "1 unexpected: block_7.c1_r.eval_conv.weight. Give its complete state dict, as it was published "
        "or trained"
    )


def test_names_out_of_a_file_cannot_write_to_the_terminal(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "folded")
    torch.save({**state, "\x1b[2J\nok": torch.zeros(1), "long" * 1000: torch.zeros(1)}, file)
    message = refusal(file)
    assert "2 unexpected: ?[2J?ok, longlong" in message
    assert "long..." in message


def test_a_convolution_stored_twice(x4_span: Span, file: Path) -> None:
    torch.save({**form_of(x4_span, "folded"), "conv_1.weight": torch.zeros(6, 3, 3, 3)}, file)
    assert "is not a complete SPAN in folded form: 1 unexpected: conv_1.weight. Give" in refusal(file)


def test_long_lists_are_shortened(x4_span: Span, file: Path) -> None:
    state = {k: v for k, v in form_of(x4_span, "training").items() if ".sk." not in k}
    torch.save(state, file)
    message = refusal(file)
    assert "in training form: 40 missing: conv_1.sk.weight, conv_1.sk.bias, block_1.c1_r.sk.weight" in message
    assert " and 34 more. Give its complete state dict" in message


def test_half_trained_half_folded(x4_span: Span, file: Path) -> None:
    both, folded = form_of(x4_span, "both"), form_of(x4_span, "folded")
    torch.save({k: v for k, v in both.items() if k in folded or k.startswith("conv_1")}, file)
    assert (
        "is not a complete SPAN in training form with folded kernels beside it: 152 missing: block_1"
        in refusal(file)
    )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("conv_cat.weight", (5, 23, 1, 1), "conv_cat.weight is (5, 23, 1, 1), not (5, 24, 1, 1)"),
        (
            "block_4.c1_r.eval_conv.weight",
            (6, 6, 5, 5),
            "c1_r.eval_conv.weight is (6, 6, 5, 5), not (6, 6, 3, 3)",
        ),
        ("conv_2.eval_conv.bias", (7,), "conv_2.eval_conv.bias is (7,), not (6,)"),
        ("upsampler.0.bias", (12,), "upsampler.0.bias is (12,), not (48,)"),
        (
            "conv_1.eval_conv.weight",
            (6, 3),
            "wrong rank: conv_1.eval_conv.weight is (6, 3); weights have 4 axes",
        ),
        ("conv_1.eval_conv.bias", (6, 1), "wrong rank: conv_1.eval_conv.bias is (6, 1); weights have 4 axes"),
        ("conv_1.eval_conv.weight", (0, 3, 3, 3), "wrong rank: conv_1.eval_conv.weight is (0, 3, 3, 3)"),
    ],
)
def test_odd_shapes(x4_span: Span, name: str, shape: tuple[int, ...], message: str, file: Path) -> None:
    torch.save({**form_of(x4_span, "folded"), name: torch.zeros(shape)}, file)
    assert message in refusal(file)


def test_another_gain(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "training")
    torch.save({**state, "conv_2.conv.0.weight": torch.zeros(18, 6, 1, 1)}, file)
    assert "conv_2.conv.0.weight is (18, 6, 1, 1), not (12, 6, 1, 1)" in refusal(file)


def test_output_channels_that_cannot_be_told(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "folded")
    state["upsampler.0.weight"], state["upsampler.0.bias"] = torch.zeros(16, 5, 3, 3), torch.zeros(16)
    torch.save(state, file)
    assert refusal(file) == (
        f"{file} has 3 input channels and 16 before the pixel shuffle, which tell neither output "
        "channels nor upscale, whose square times the former they are; accepted are as many out as in, "
        "or a file written by models.save_checkpoint"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite(x4_span: Span, value: float, file: Path) -> None:
    state = form_of(x4_span, "folded")
    state["block_2.c1_r.eval_conv.weight"][0, 1, 2, 0] = value
    torch.save(state, file)
    assert refusal(file) == (
        f"{file} holds NaN or infinite weights in block_2.c1_r.eval_conv.weight; "
        "the training diverged or the file is damaged"
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.zeros(5, dtype=torch.int8), "int8"),
        (torch.zeros(5, dtype=torch.complex64), "complex64"),
        (torch.zeros(5, device="meta"), "float32 without data"),
        (torch.zeros(5).to_sparse(), "sparse float32"),
    ],
    ids=["int8", "complex", "meta", "sparse"],
)
def test_tensors_that_are_not_plain_floats(x4_span: Span, value: Tensor, kind: str, file: Path) -> None:
    torch.save({**form_of(x4_span, "folded"), "conv_cat.bias": value}, file)
    assert refusal(file) == (
        f"{file} holds tensors that are not plain floats: conv_cat.bias ({kind}); "
        "accepted are float16, bfloat16, float32 and float64"
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"img_range": 0}, "img_range 0.0 is not a positive number; 255 and 1 are usual"),
        ({"img_range": float("nan")}, "img_range nan is not a positive number"),
        (
            {"rgb_mean": (0.5,)},
            "rgb_mean has 1 values and {file} has 3 input channels; give one value per channel",
        ),
        (
            {"rgb_mean": (0.5, float("inf"), 0)},
            "rgb_mean (0.5, inf, 0.0) is not finite; give the mean of images",
        ),
    ],
)
def test_options_that_do_not_suit(x4_span: Span, given: dict[str, Any], message: str, file: Path) -> None:
    torch.save(form_of(x4_span, "folded"), file)
    assert message.format(file=file) in refusal(file, **given)


def test_options_without_normalization(x4_span: Span, file: Path) -> None:
    torch.save({**form_of(x4_span, "folded"), "no_norm": torch.zeros(1)}, file)
    for given in ({"img_range": 1.0}, {"rgb_mean": (0.0, 0.0, 0.0)}):
        message = refusal(file, **given)
        assert message == f"{file} is a network without normalization; leave img_range and rgb_mean out"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {**c, "upscale": 2}, "config that its weights contradict: shuffled_channels 12, not 48"),
        (lambda c: {**c, "upscale": -4}, "shuffled_channels -48, not 48"),
        (lambda c: {**c, "normalize": False}, "normalize False, not True"),
        (lambda c: {**c, "network": "spanf"}, "network spanf, not span"),
        (lambda c: {**c, "rgb_mean": [0.1]}, "rgb_mean has 1 values and"),
        (lambda c: {**c, "rgb_mean": None}, "has a damaged config in its metadata"),
        (lambda c: {**c, "img_range": "wide"}, "has a damaged config in its metadata"),
        (
            lambda c: {**c, "feature_channels": "6"},
            "config values of ['feature_channels'] are of a wrong type",
        ),
        (lambda c: {k: v for k, v in c.items() if k != "upscale"}, "has a damaged config in its metadata"),
        (lambda c: [1], "has a damaged config in its metadata"),
    ],
)
def test_a_config_that_contradicts(
    x4_span: Span, change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    config = json.dumps(change(copy.deepcopy(x4_span.config.to_json())))
    save_file(form_of(x4_span, "folded"), path, metadata={CONFIG_KEY: config})
    assert message in refusal(path)
