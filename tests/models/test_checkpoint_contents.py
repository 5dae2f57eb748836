"""Checkpoints that hold something else than one whole network are refused with the reason, in one line."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_support import form_of, refusal
from safetensors.torch import save_file
from torch import Tensor

from models import Span
from models.recognition import CONFIG_KEY


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
