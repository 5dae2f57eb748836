from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tflite_support import (
    SIZE,
    SOURCE,
    quantized_in_groups,
    quantized_network,
    random_network,
    run_tflite,
    snr_db,
)

from convert import Sizes, read_artifact, to_coreml, to_tflite
from edge_eval.mil import Machine, load_program
from models import InputError
from quantize.scales import RELABELS
from quantize.simulation import simulate

SPANF = {"network": "spanf", "normalize": False, "upscale": 4}
GREY = {"in_channels": 1, "out_channels": 1, "rgb_mean": (0.44,)}
CONFIGS = {
    "span x2": {},
    "span x1": {"upscale": 1},
    "span x3 grey": {"upscale": 3, **GREY},
    "spanf x4": SPANF,
}
MIXED = ("block_2.c1_r", "block_2.c1_r.gate")
RECIPES = {"w8a8": (), "w8a8_mixed": MIXED, "w8": ()}
IOS = {"w8a8": 17, "w8a8_mixed": 17, "w8": 16}


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Converts a random quantized network; the same arguments give the same package, made once."""
    done = {}
    folder = tmp_path_factory.mktemp("coreml-nodes")

    def convert(recipe="w8a8", *, float_bits=32, sizes=None, io="image", minimum_ios=17, **config):
        sizes = sizes or Sizes.fixed(*SIZE)
        key = (recipe, float_bits, sizes, io, minimum_ios, *sorted(config.items()))
        if key not in done:
            quantized = quantized_network(recipe, float_nodes=RECIPES[recipe], **config)
            given = {"sizes": sizes, "io": io, "minimum_ios": minimum_ios, "float_bits": float_bits}
            out = folder / f"{len(done)}.mlpackage"
            done[key] = quantized, to_coreml(quantized, recipe=recipe, source=SOURCE, out=out, **given)
        return done[key]

    return convert


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def config(request):
    return request.param


def frame(h=SIZE[0], w=SIZE[1], channels=3, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (h, w, channels)).astype(np.uint8)


def simulated(quantized, pixels):
    """What the network is simulated to give for a frame: [0, 1], (H, W, C)."""
    lr = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
    return simulate(quantized, lr)[0].numpy().transpose(1, 2, 0)


def run(artifact, pixels, **kept):
    value = pixels
    if artifact.info.input.layout != "image":
        value = (pixels / np.float32(255)).transpose(2, 0, 1)[None]
    elif pixels.shape[2] == 1:
        value = pixels[:, :, 0]
    return Machine(load_program(artifact.path)).run({"image": value}, raw=True, **kept)


def upscaled(artifact, pixels):
    """What a package gives for a frame: [0, 1], (H, W, C)."""
    white = 255 if artifact.info.input.layout == "image" else 1
    return run(artifact, pixels)["upscaled"][0].transpose(1, 2, 0).astype(np.float64) / white


def operations(artifact):
    return Counter(op.kind for op in load_program(artifact.path).operations if op.kind != "const")


@pytest.mark.parametrize("io", ["image", "tensor"])
@pytest.mark.parametrize("recipe", ["w8a8", "w8a8_mixed"])
def test_a_package_computes_what_was_simulated(packages, config, recipe, io):
    quantized, artifact = packages(recipe, io=io, **config)
    pixels = frame(channels=quantized.config.in_channels)
    expected = simulated(quantized, pixels)
    got = upscaled(artifact, pixels)
    assert np.mean(np.abs(got - expected) > 0.5 / 255) < 0.01, "but for ties, which floating point decides"
    assert expected.std() > 20 / 255


@pytest.mark.parametrize("form", ["quarters", "twin", "tanh"])
def test_splits_are_computed_as_simulated(config, form, monkeypatch, tmp_path):
    quantized = quantized_in_groups(monkeypatch, form=form, **config)
    artifact = to_coreml(
        quantized, recipe="w8a8", source=SOURCE, out=tmp_path / "x.mlpackage", sizes=Sizes.fixed(*SIZE),
        io="image", minimum_ios=17, float_bits=32,
    )  # fmt: skip
    frames = [frame(channels=quantized.config.in_channels, seed=seed) for seed in range(3)]
    wrong = [np.abs(upscaled(artifact, one) - simulated(quantized, one)) > 0.5 / 255 for one in frames]
    assert min(np.mean(one) for one in wrong) < 0.01, "but where floating point decides a tie, which spreads"
    ops, nodes = operations(artifact), Counter(node.op for node in quantized.network.nodes)
    assert ops["split"] == nodes["group"] / 4 and (ops["split"] >= 10) == (form == "quarters")


@pytest.mark.parametrize("recipe", ["w8a8", "w8a8_mixed"])
def test_float16_between_integers_costs_little(packages, config, recipe):
    quantized, artifact = packages(recipe, float_bits=16, **config)
    pixels = frame(channels=quantized.config.in_channels)
    assert snr_db(upscaled(artifact, pixels), simulated(quantized, pixels)) > 35


@pytest.mark.parametrize("io", ["image", "tensor"])
@pytest.mark.parametrize(("float_bits", "least_snr_db"), [(16, 50), (32, 100)])
def test_integer_weights_alone(packages, config, float_bits, least_snr_db, io):
    quantized, artifact = packages("w8", float_bits=float_bits, io=io, **config)
    pixels = frame(channels=quantized.config.in_channels)
    expected = simulated(quantized, pixels)
    expected = expected.clip(0, 1) if io == "image" else expected
    assert snr_db(upscaled(artifact, pixels), expected) > least_snr_db


def test_another_network_is_told_apart(packages):
    quantized, artifact = packages("w8a8")
    scales = dict(quantized.activations)
    scales["block_3"] = replace(scales["block_3"], scale=scales["block_3"].scale * 1.1)
    other = simulated(replace(quantized, activations=scales), frame())
    assert np.mean(np.abs(upscaled(artifact, frame()) - other) > 0.5 / 255) > 0.05


def test_tflite_and_core_ml_hold_the_same_numbers(packages, config, tmp_path):
    quantized, artifact = packages("w8a8", **config)
    tflite = to_tflite(quantized, recipe="w8a8", size=SIZE, source=SOURCE, out=tmp_path / "x.tflite")
    pixels = frame(channels=quantized.config.in_channels)
    difference = np.rint(upscaled(artifact, pixels) * 255) - run_tflite(tflite.path, pixels)
    assert np.mean(difference != 0) < 0.01


def test_integers_bear_the_names_of_the_nodes(packages):
    quantized, artifact = packages("w8a8")
    kept = run(artifact, frame(), keep=True)
    integers = {name for name, value in kept.items() if value.dtype == np.int8}
    no_integers = ("sigmoid", *RELABELS)
    hidden = {node.name for node in quantized.network.nodes if node.op in no_integers} | {"upscaled"}
    expected = {node.name.replace(".", "_") for node in quantized.network.nodes if node.name not in hidden}
    assert expected <= integers
    lr = torch.from_numpy(frame().transpose(2, 0, 1)[None] / np.float32(255))
    qparams = quantized.activations["conv_1"]
    values = {}
    quantized.network.run(lr, tensor=lambda name, value: values.setdefault(name, value))
    rounded = torch.round(values["conv_1"] / qparams.scale) + qparams.zero_point
    assert np.mean(kept["conv_1"] != rounded.clamp(-128, 127).numpy()) < 0.01


def test_scales_stand_in_the_file_as_they_were_found(packages):
    quantized, artifact = packages("w8a8")
    program = load_program(artifact.path)
    (quantize,) = [op for op in program.operations if op.results[0].name == "conv_1"]
    given = {name: bound[0] for name, bound in quantize.inputs.items()}
    by_name = {op.results[0].name: op for op in program.operations}
    scale = by_name[given["scale"].name] if hasattr(given["scale"], "name") else given["scale"]
    value = scale.inputs["val"][0].value if hasattr(scale, "inputs") else scale.value
    assert float(np.asarray(value)) == pytest.approx(quantized.activations["conv_1"].scale, rel=1e-6)


def test_the_program_has_one_operation_per_node(packages, config):
    quantized, artifact = packages("w8a8", float_bits=16, **config)
    ops, nodes = operations(artifact), Counter(node.op for node in quantized.network.nodes)
    assert ops["conv"] == ops["constexpr_affine_dequantize"] == nodes["conv2d"]
    assert (ops["mul"], ops["add"], ops["concat"]) == (nodes["mul"], nodes["add"], nodes["concat"])
    assert ops["tanh"] == nodes["tanh"] > 0
    assert ops["scaled_tanh"] == nodes["center"], "which takes the sigmoid before it in"
    assert ops["sigmoid"] == nodes["sigmoid"] - nodes["center"]
    relabelled = nodes["plus_one"] + nodes["times"]
    rounded = sum(nodes.values()) - nodes["center"] - nodes["pixel_shuffle"] + 1
    assert ops["dequantize"] == rounded
    assert ops["quantize"] == rounded - relabelled, "whose integers are those of what they read"
    assert (ops["clip"], ops["cast"]) == (0, 1)


def test_weights_alone_leave_only_what_the_float_network_needs(packages, config):
    quantized, artifact = packages("w8", float_bits=16, **config)
    ops, nodes = operations(artifact), Counter(node.op for node in quantized.network.nodes)
    assert ops["silu"] + ops["sigmoid"] + ops["scaled_tanh"] == nodes["sigmoid"]
    assert not nodes["tanh"] + nodes["plus_one"], "which serve 8-bit activations alone"
    assert not ops["quantize"] + ops["sub"]
    assert (ops["clip"], ops["cast"]) == (1, 2)


def test_the_package_says_what_it_is(packages):
    quantized, artifact = packages("w8a8", float_bits=16)
    info = read_artifact(artifact.path).info
    assert (info.recipe, info.backend, info.config) == ("w8a8", "nodes", quantized.config)
    assert (info.input.dtype, info.input.layout) == ("uint8", "image")


@pytest.mark.parametrize("recipe", RECIPES)
def test_flexible_sizes(packages, recipe):
    for sizes in (Sizes.between((3, 4), (20, 30), default=SIZE), Sizes.among([SIZE, (9, 7)])):
        quantized, artifact = packages(recipe, sizes=sizes)
        difference = upscaled(artifact, frame(9, 7)) - simulated(quantized, frame(9, 7)).clip(0, 1)
        assert np.mean(np.abs(difference) > 0.5 / 255) < 0.01


def test_weights_are_stored_as_bytes(packages):
    quantized, artifact = packages("w8", feature_channels=32)
    count = sum(weight.values.numel() for weight in quantized.weights.values())
    assert artifact.size_bytes < 1.5 * count + 80_000


@pytest.mark.parametrize(
    ("recipe", "asked", "given", "message"),
    [
        ("w8a8", "w8", {}, "recipe 'w8' was asked for and the network was quantized by 'w8a8'"),
        (
            "w8a16",
            "w8a16",
            {},
            "recipe 'w8a16' is not made for Core ML, which has no 16-bit integer activations",
        ),
        ("w8a8", "w8a8", {"minimum_ios": 16}, "recipe 'w8a8' needs iOS 17 or newer, not 16"),
        ("w8", "w8", {"minimum_ios": 15}, "recipe 'w8' needs iOS 16 or newer, not 15"),
    ],
)
def test_refusals(tmp_path, recipe, asked, given, message):
    arguments = {"sizes": Sizes.fixed(*SIZE), "source": SOURCE, "out": tmp_path / "x.mlpackage", **given}
    with pytest.raises(InputError) as refused:
        to_coreml(quantized_network(recipe), recipe=asked, **arguments)
    assert message in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", ["w8", "w8a8"])
def test_float_networks_are_refused(tmp_path, recipe):
    given = {"sizes": Sizes.fixed(*SIZE), "source": SOURCE, "out": tmp_path / "x.mlpackage"}
    with pytest.raises(InputError, match=f"recipe '{recipe}' needs a quantized network and a float one was"):
        to_coreml(random_network(), recipe=recipe, **given)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_oldest_ios_is_selectable(packages, recipe):
    for minimum_ios in {IOS[recipe], 18}:
        quantized, artifact = packages(recipe, minimum_ios=minimum_ios)
        difference = upscaled(artifact, frame()) - simulated(quantized, frame()).clip(0, 1)
        assert np.mean(np.abs(difference) > 0.5 / 255) < 0.01
