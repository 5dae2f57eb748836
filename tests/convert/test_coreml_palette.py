import itertools

import numpy as np
import pytest
import torch
from tflite_support import SIZE, SOURCE, random_network, run_torch, snr_db

from convert import Sizes, read_artifact, to_coreml
from convert.coreml_palette import compensate, palettized_network, table
from edge_eval.mil import Machine, load_program
from models import InputError

BITS = {"pal8": 8, "pal6": 6, "pal4": 4}


def frame(channels=3):
    return np.random.default_rng(1).integers(0, 256, (*SIZE, channels), dtype=np.uint8)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Converts a random network to a palettized package, once for each set of arguments."""
    done = {}
    folder = tmp_path_factory.mktemp("coreml-palette")

    def convert(recipe, io="tensor", minimum_ios=17, **config):
        key = (recipe, io, minimum_ios, *sorted(config.items()))
        if key not in done:
            network = random_network(**config)
            given = {"sizes": Sizes.fixed(*SIZE), "io": io, "minimum_ios": minimum_ios, "source": SOURCE}
            out = folder / f"{len(done)}.mlpackage"
            done[key] = network, to_coreml(network, recipe=recipe, out=out, **given)
        return done[key]

    return convert


def upscaled(artifact, pixels):
    value = (pixels / np.float32(255)).transpose(2, 0, 1)[None]
    return Machine(load_program(artifact.path)).run({"image": value})["upscaled"][0].transpose(1, 2, 0)


def test_the_table_is_the_best_there_is():
    weight, importance = torch.rand(2, 9, generator=torch.Generator().manual_seed(1)).half().double()
    importance = importance + 0.1
    numbers = table(weight, importance, 1)

    def cost(pair):
        return float(((weight[:, None] - torch.tensor(pair)).square().min(1).values * importance).sum())

    splits = itertools.pairwise([0, *range(1, 9), 9])
    order = weight.argsort()
    best = min(
        cost([float((weight[part] * importance[part]).sum() / importance[part].sum()) for part in parts])
        for parts in ((order[:cut], order[cut:]) for _, cut in splits if cut < 9)
    )
    assert cost(numbers.tolist()) == pytest.approx(best, rel=1e-3)


def test_weights_of_few_values_are_kept():
    weight = torch.tensor([0.5, -0.25, 0.5, 1.0]).double()
    assert table(weight, torch.ones(4), 4).tolist() == [-0.25, 0.5, 1.0]


def test_later_weights_make_up_for_earlier_ones():
    torch.manual_seed(1)
    conv = torch.nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False)
    smooth = torch.nn.functional.interpolate(torch.rand(4, 8, 6, 6), size=(24, 24), mode="bilinear")
    expected, weight = conv(smooth), conv.weight.clone()
    numbers = table(weight.double(), torch.ones_like(weight), 3)
    nearest = numbers[(weight[..., None] - numbers).abs().argmin(-1)].float()
    plain = torch.nn.functional.conv2d(smooth, nearest, conv.bias, padding=1)
    compensate(conv, smooth, smooth, 3)
    assert len(conv.weight.unique()) <= 8
    assert (conv(smooth) - expected).square().mean() < 0.2 * (plain - expected).square().mean()


@pytest.mark.parametrize(
    ("recipe", "least_snr_db", "config"),
    [
        ("pal8", 38, {}),
        ("pal6", 26, {}),
        ("pal4", 13, {}),
        ("pal6", 26, {"network": "spanf", "normalize": False}),
    ],
)
def test_a_package_holds_a_palette_per_convolution(packages, recipe, least_snr_db, config):
    network, artifact = packages(recipe, **config)
    assert read_artifact(artifact.path).info.recipe == recipe
    operations = load_program(artifact.path).operations
    tables = [op for op in operations if op.kind == "constexpr_lut_to_dense"]
    assert len(tables) == sum(op.kind == "conv" for op in operations) == len(network.convolutions())
    expected = run_torch(network, frame().astype(np.float32) / 255)
    assert snr_db(upscaled(artifact, frame()), expected) > least_snr_db


def test_the_package_computes_with_the_limited_weights(packages):
    network, artifact = packages("pal4")
    limited = palettized_network(network, bits=4)
    assert all(len(conv.weight.unique()) <= 16 for conv in limited.convolutions().values())
    pixels = frame().astype(np.float32) / 255
    assert snr_db(upscaled(artifact, frame()), run_torch(limited, pixels)) > 50
    assert snr_db(upscaled(artifact, frame()), run_torch(network, pixels)) < 40


def test_fewer_bits_make_smaller_packages(packages):
    sizes = [packages(recipe)[1].size_bytes for recipe in BITS]
    assert sizes == sorted(sizes, reverse=True)


def test_grey_networks(packages):
    network, artifact = packages("pal6", in_channels=1, out_channels=1, rgb_mean=(0.44,))
    expected = run_torch(network, frame(1).astype(np.float32) / 255)
    assert snr_db(upscaled(artifact, frame(1)), expected) > 20


def test_the_network_is_left_unchanged():
    network = random_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = []
    palettized_network(
        network, bits=4, progress=lambda stage, done, total, detail="": told.append((done, total))
    )
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert told == [(n, 22) for n in range(1, 23)]


def test_old_systems_are_refused(tmp_path):
    given = {"sizes": Sizes.fixed(*SIZE), "source": SOURCE, "out": tmp_path / "x.mlpackage"}
    with pytest.raises(InputError, match="recipe 'pal6' needs iOS 16 or newer, not 15"):
        to_coreml(random_network(), recipe="pal6", minimum_ios=15, **given)
