import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from tflite_support import SIZE, SOURCE, random_network, run_torch, snr_db

from convert import METADATA_KEY, Sizes, read_artifact, sidecar_path, to_coreml
from convert.coreml import IOS_VERSIONS
from convert.coreml_passes import FLOAT_PASSES
from edge_eval.mil import Machine, load_program
from models import InputError

GREY = {"in_channels": 1, "out_channels": 1, "rgb_mean": (0.44,)}
SPANF = {"network": "spanf", "normalize": False}
NETWORKS = {
    "span x2": {},
    "span x1": {"upscale": 1},
    "span x3 grey": {"upscale": 3, **GREY},
    "span x2, not normalized": {"normalize": False},
    "span x2, range 1": {"img_range": 1.0},
    "span x2, range 300": {"img_range": 300.0},
    "spanf x4": {**SPANF, "upscale": 4},
}
LEAST_SNR_DB = {"fp32": 100.0, "fp16": 50.0}
"""Against PyTorch, for random weights, whose outputs are no images; measured 123 to 136 and 54 to 64."""


def image_network(**config):
    """A random network whose outputs are mostly in [0, 1], and a little outside."""
    network = random_network(**config)
    upscaled = run_torch(network, frame(channels=network.config.in_channels, axes=3).astype(np.float32) / 255)
    last = list(network.convolutions().values())[-1]
    spread = 6 * float(upscaled.std())
    last.weight.div_(spread)
    last.bias.sub_(float(upscaled.mean())).div_(spread).add_(0.5)
    return network


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Converts a random network; the same arguments give the same package, made once."""
    done = {}
    folder = tmp_path_factory.mktemp("coreml")

    def convert(*, recipe="fp16", sizes=None, io="image", minimum_ios=17, **config):
        sizes = sizes or Sizes.fixed(*SIZE)
        key = (recipe, sizes, io, minimum_ios, *sorted(config.items()))
        if key not in done:
            network = image_network(**config)
            out = folder / f"{len(done)}.mlpackage"
            given = {"sizes": sizes, "io": io, "minimum_ios": minimum_ios, "source": SOURCE, "out": out}
            done[key] = network, to_coreml(network, recipe=recipe, **given)
        return done[key]

    return convert


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS.keys())
def config(request):
    return request.param


def frame(h=SIZE[0], w=SIZE[1], channels=3, axes=None):
    pixels = np.random.default_rng(1).integers(0, 256, (h, w, channels), dtype=np.uint8)
    return pixels[:, :, 0] if channels == 1 and axes != 3 else pixels


def run(artifact, pixels):
    """A frame through a package in the emulator; (H, W, C) in [0, 1]."""
    is_image = artifact.info.input.layout == "image"
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    value = pixels if is_image else (planes.astype(np.float32) / 255).transpose(2, 0, 1)[None]
    result = Machine(load_program(artifact.path)).run({"image": value}, raw=True)["upscaled"]
    return result[0].transpose(1, 2, 0).astype(np.float64) / (255 if is_image else 1)


def expected(network, pixels, *, clipped):
    planes = pixels[:, :, None] if pixels.ndim == 2 else pixels
    result = run_torch(network, planes.astype(np.float32) / np.float32(255))
    return result.clip(0, 1) if clipped else result


def operations(artifact):
    return Counter(op.kind for op in load_program(artifact.path).operations if op.kind != "const")


@pytest.mark.parametrize(("recipe", "io"), [("fp16", "image"), ("fp32", "tensor")])
def test_the_package_gives_what_the_network_gives(packages, config, recipe, io):
    network, artifact = packages(recipe=recipe, io=io, **config)
    pixels = frame(channels=network.config.in_channels)
    reference = expected(network, pixels, clipped=io == "image")
    assert np.ptp(reference) > 0.2, "a reference that is clipped everywhere proves nothing"
    assert snr_db(run(artifact, pixels), reference) > LEAST_SNR_DB[recipe]


def test_float16_tensors_keep_the_factor_of_the_image(packages):
    network, artifact = packages(recipe="fp16", io="tensor")
    assert operations(artifact)["mul"] == 7, "six blocks, and the factor of the image in float32"
    reference = expected(network, frame(), clipped=False)
    assert snr_db(run(artifact, frame()), reference) > LEAST_SNR_DB["fp16"]


def test_another_network_is_told_apart(packages):
    _, artifact = packages(recipe="fp32")
    other = image_network()
    other.conv_1.bias.add_(0.01)
    assert snr_db(run(artifact, frame()), expected(other, frame(), clipped=True)) < LEAST_SNR_DB["fp32"]


@pytest.mark.parametrize(("recipe", "io"), [("fp16", "image"), ("fp32", "tensor")])
def test_the_program_holds_only_what_the_network_needs(packages, config, recipe, io):
    network, artifact = packages(recipe=recipe, io=io, **config)
    ops = operations(artifact)
    attention = sum(block.attention for name, block in network.named_children() if name.startswith("block"))
    gain = (network.config.img_range if network.config.normalize else 1) / (255 if io == "image" else 1)
    assert ops["conv"] <= len(network.convolutions())
    assert ops["scaled_tanh"] == ops["add"] == attention
    assert ops["mul"] == attention + (recipe == "fp16" and gain != 1), (
        "fp32 has the factor in the first filter"
    )
    assert ops["sub"] == network.config.normalize
    assert ops["clip"] == (io == "image")
    assert ops["cast"] == (2 if recipe == "fp16" else 0), "into float16 and out of it"
    assert set(ops) <= {
        *("sub", "cast", "conv", "silu", "scaled_tanh", "add", "mul", "concat", "pixel_shuffle", "clip")
    }


def test_operations_are_named_after_the_network(packages):
    _, artifact = packages()
    names = " ".join(op.results[0].name for op in load_program(artifact.path).operations if op.kind == "conv")
    assert all(
        part in names for part in ("conv_1", "block_1_c1_r", "block_6_c3_r", "conv_cat", "upsampler_0")
    )


def test_images_are_described(packages, config):
    network, artifact = packages(**config)
    program = load_program(artifact.path)
    (given,), (made), scale = program.inputs, program.outputs[0], network.config.upscale
    color = "RGB" if network.config.in_channels == 3 else "GRAYSCALE"
    assert (given.name, given.kind, given.color, given.shape) == ("image", "image", color, SIZE)
    larger = (SIZE[0] * scale, SIZE[1] * scale)
    assert (made.name, made.kind, made.color, made.shape) == ("upscaled", "image", color, larger)
    assert artifact.info.output.shape == larger


def test_tensors_are_described(packages):
    _, artifact = packages(io="tensor")
    program = load_program(artifact.path)
    assert [(f.name, f.kind, f.dtype, f.shape) for f in (*program.inputs, *program.outputs)] == [
        ("image", "tensor", "float32", (1, 3, 12, 16)),
        ("upscaled", "tensor", "float32", (1, 3, 24, 32)),
    ]
    assert artifact.info.input.shape == (1, 3, 12, 16)


def test_an_image_is_clipped_and_a_tensor_is_not(packages):
    pixels = frame()
    for io, bounds in (("image", (0.0, 1.0)), ("tensor", (-np.inf, np.inf))):
        network, artifact = packages(io=io, recipe="fp32")
        reference = expected(network, pixels, clipped=False)
        assert reference.min() < -0.01 < 1.01 < reference.max()
        assert np.abs(run(artifact, pixels) - reference.clip(*bounds)).max() < 1e-4


@pytest.mark.parametrize("io", ["image", "tensor"])
def test_enumerated_sizes(packages, io):
    sizes = Sizes.among([(12, 16), (7, 9), (16, 5)])
    network, artifact = packages(io=io, sizes=sizes, recipe="fp32")
    assert artifact.info.input.shape[-2:] == (None, None)
    (given,) = load_program(artifact.path).inputs
    assert [size[-2:] for size in given.sizes] == [(12, 16), (7, 9), (16, 5)]
    for size in sizes.enumerated:
        reference = expected(network, frame(*size), clipped=io == "image")
        assert snr_db(run(artifact, frame(*size)), reference) > LEAST_SNR_DB["fp32"]
    with pytest.raises(InputError, match="takes one of"):
        run(artifact, frame(8, 8))


@pytest.mark.parametrize("io", ["image", "tensor"])
def test_ranged_sizes(packages, io):
    sizes = Sizes.between((3, 4), (20, 30), default=(12, 16))
    network, artifact = packages(io=io, sizes=sizes, recipe="fp32")
    (given,) = load_program(artifact.path).inputs
    assert given.shape[-2:] == (12, 16)
    assert given.ranges[-2:] == ((3, 20), (4, 30))
    for size in ((3, 4), (20, 30), (7, 11)):
        reference = expected(network, frame(*size), clipped=io == "image")
        assert snr_db(run(artifact, frame(*size)), reference) > LEAST_SNR_DB["fp32"]
    with pytest.raises(InputError, match="takes"):
        run(artifact, frame(21, 30))


def test_the_sizes_of_an_image_output_follow_those_of_the_input(packages):
    _, ranged = packages(sizes=Sizes.between((3, 4), (20, 30), default=(12, 16)), recipe="fp32")
    made = load_program(ranged.path).outputs[0]
    assert (made.shape, made.ranges) == ((24, 32), ((6, 40), (8, 60)))
    _, listed = packages(sizes=Sizes.among([(12, 16), (7, 9), (16, 5)]), recipe="fp32")
    assert load_program(listed.path).outputs[0].sizes == ((24, 32), (14, 18), (32, 10))


@pytest.mark.parametrize("minimum_ios", IOS_VERSIONS)
def test_the_oldest_ios_is_selectable(packages, minimum_ios):
    from coremltools.proto import Model_pb2

    network, artifact = packages(minimum_ios=minimum_ios)
    spec = Model_pb2.Model()
    spec.ParseFromString(next((artifact.path / "Data").rglob("*.mlmodel")).read_bytes())
    assert spec.specificationVersion == minimum_ios - 9
    reference = expected(network, frame(), clipped=True)
    assert snr_db(run(artifact, frame()), reference) > LEAST_SNR_DB["fp16"]


def test_the_package_says_what_it_is(packages):
    from coremltools.proto import Model_pb2

    network, artifact = packages()
    assert read_artifact(artifact.path) == artifact
    assert artifact.info.config == network.config
    assert artifact.info.source == SOURCE
    sidecar = json.loads(sidecar_path(artifact.path).read_text())
    assert (sidecar["recipe"], sidecar["sha256"]) == ("fp16", artifact.sha256)
    spec = Model_pb2.Model()
    spec.ParseFromString(next((artifact.path / "Data").rglob("*.mlmodel")).read_bytes())
    about = spec.description.metadata
    assert json.loads(about.userDefined[METADATA_KEY])["config"] == network.config.to_json()
    assert about.author == "span-edge"
    assert "random" in about.license
    assert "2 times" in about.shortDescription
    assert spec.description.input[0].shortDescription == "Low-resolution image."
    assert "2 times" in spec.description.output[0].shortDescription


def test_fp16_weights_are_half_the_size(packages):
    sizes = {recipe: packages(recipe=recipe, feature_channels=32)[1].size_bytes for recipe in FLOAT_PASSES}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]


def test_the_network_is_left_unchanged(tmp_path):
    network = random_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    to_coreml(network, recipe="fp32", sizes=Sizes.fixed(*SIZE), source=SOURCE, out=tmp_path / "x.mlpackage")
    assert list(before) == list(network.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_existing_files_are_kept_unless_told(packages, tmp_path):
    network, out = random_network(), tmp_path / "x.mlpackage"
    given = {"recipe": "fp32", "sizes": Sizes.fixed(*SIZE), "source": SOURCE, "out": out}
    first = to_coreml(network, **given)
    with pytest.raises(InputError, match="exists already"):
        to_coreml(network, **given)
    assert read_artifact(out).sha256 == first.sha256
    again = to_coreml(network, **{**given, "recipe": "fp16"}, overwrite=True)
    assert read_artifact(out).info.recipe == again.info.recipe == "fp16"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.mlpackage", "x.mlpackage.json"]


def test_progress_is_told(tmp_path):
    told = []
    to_coreml(
        random_network(),
        recipe="fp16",
        sizes=Sizes.fixed(*SIZE),
        source=SOURCE,
        out=tmp_path / "x.mlpackage",
        progress=lambda stage, done, total, detail="": told.append((stage, done, total)),
    )
    assert told == [("convert to Core ML", step, 3) for step in range(4)]


@pytest.mark.parametrize(
    ("given", "config", "message"),
    [
        ({"recipe": "int9"}, {}, "there is no recipe 'int9'; the recipes are"),
        ({"recipe": "w8a8"}, {}, "recipe 'w8a8' needs a quantized network and a float one was given"),
        ({"minimum_ios": 14}, {}, "iOS 14 is no target of ours; choose 15, 16, 17, 18"),
        ({"minimum_ios": 19}, {}, "iOS 19 is no target of ours"),
        ({"io": "array"}, {}, "input and output 'array' are unknown; choose image or tensor"),
        ({"out": "x.mlmodel"}, {}, "x.mlmodel: a Core ML package's name ends in .mlpackage"),
        (
            {},
            {"in_channels": 4, "rgb_mean": (0.1,) * 4},
            "images have 1 or 3 channels and the network 4 in, 3 out",
        ),
    ],
)
def test_refusals(tmp_path, given, config, message):
    arguments = {
        "recipe": "fp16",
        "sizes": Sizes.fixed(*SIZE),
        "source": SOURCE,
        "out": "x.mlpackage",
        **given,
    }
    with pytest.raises(InputError) as refused:
        to_coreml(random_network(**config), **{**arguments, "out": tmp_path / arguments["out"]})
    assert message in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_weights_beyond_float16_are_refused_in_fp16_only(tmp_path):
    network = random_network()
    network.conv_1.weight[0, 0, 0, 0] = 7e4
    given = {"sizes": Sizes.fixed(*SIZE), "source": SOURCE}
    with pytest.raises(InputError, match=r"float16 ends at 65504 .* conv_1.weight \(7e\+04\); take fp32"):
        to_coreml(network, recipe="fp16", out=tmp_path / "x.mlpackage", **given)
    to_coreml(network, recipe="fp32", out=tmp_path / "x.mlpackage", **given)


def test_four_channels_go_as_tensors(packages):
    config = {"in_channels": 4, "out_channels": 4, "rgb_mean": (0.1, 0.2, 0.3, 0.4)}
    network, artifact = packages(io="tensor", recipe="fp32", **config)
    reference = expected(network, frame(channels=4), clipped=False)
    assert snr_db(run(artifact, frame(channels=4)), reference) > LEAST_SNR_DB["fp32"]


def test_a_conversion_prints_nothing(tmp_path):
    script = (
        "from pathlib import Path\n"
        "from convert import Sizes, Source, to_coreml\n"
        "from tflite_support import SOURCE, random_network\n"
        f"out = Path({str(tmp_path / 'x.mlpackage')!r})\n"
        "to_coreml(random_network(), recipe='fp16', sizes=Sizes.fixed(12, 16), source=SOURCE, out=out)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=next(path for path in map(str, sys.path) if path.endswith("tests/convert")),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
