"""Tiles cover an image once, keep only what is right, and equal the whole image's result."""

import numpy as np
import pytest

from edge_eval.runner import Runner
from edge_eval.runtimes.table import open_runner
from edge_eval.tiling import fill_up, plan_axis, run_tiled
from edge_eval.tolerances import limit
from models import SpanDeploy
from models.errors import InputError


class Box:
    """A stand-in for a network: sums over a (2r+1) square, zeros beyond the border, each pixel doubled."""

    runtime = "box"
    scale = 2

    def __init__(self, radius: int, input_hw: tuple[int, int] | None) -> None:
        self.radius = radius
        self.input_hw = input_hw
        self.calls = 0

    def run(self, image: np.ndarray) -> np.ndarray:
        assert self.input_hw in (None, image.shape[:2])
        self.calls += 1
        padded = np.pad(image, ((self.radius,) * 2, (self.radius,) * 2, (0, 0)))
        side = 2 * self.radius + 1
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))
        return windows.sum((-1, -2)).repeat(2, 0).repeat(2, 1).astype(np.float32)


@pytest.mark.parametrize("radius", [0, 1, 3])
@pytest.mark.parametrize("tile", [8, 9, 13])
def test_the_plan_keeps_every_pixel_once_and_far_from_edges(radius: int, tile: int) -> None:
    for length in range(tile, 60):
        spans = plan_axis(length, tile, radius)
        kept = [pixel for span in spans for pixel in range(span.keep_from, span.keep_to)]
        assert kept == list(range(length))
        for span in spans:
            assert 0 <= span.start <= length - tile
            assert span.start == 0 or span.keep_from - span.start >= radius
            assert span.start + tile == length or span.start + tile - span.keep_to >= radius


@pytest.mark.parametrize("hw", [(12, 12), (12, 30), (13, 14), (31, 29), (40, 12)])
def test_tiles_equal_the_whole_image_exactly(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 9, (*hw, 3)).astype(np.float32)
    whole = Box(4, None).run(image)
    np.testing.assert_array_equal(run_tiled(Box(4, (12, 12)), image, radius=4), whole)


def test_too_small_a_radius_shows() -> None:
    image = np.random.default_rng(0).integers(1, 9, (40, 40, 1)).astype(np.float32)
    tiled = run_tiled(Box(4, (12, 12)), image, radius=3)
    assert not np.array_equal(tiled, Box(4, None).run(image))


def test_an_image_of_the_tiles_size_is_one_run() -> None:
    runner = Box(4, (12, 12))
    run_tiled(runner, np.ones((12, 12, 1), np.float32), radius=4)
    assert runner.calls == 1


def test_progress_counts_tiles() -> None:
    told: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int, detail: str = "") -> None:
        told.append((done, total))

    run_tiled(Box(4, (12, 12)), np.ones((20, 16, 1), np.float32), radius=4, progress=progress)
    assert told == [(index, len(told)) for index in range(1, len(told) + 1)]


def test_smaller_than_the_tile_is_refused() -> None:
    with pytest.raises(
        InputError, match="the image has 11 pixels along a side where the network takes exactly 12"
    ):
        run_tiled(Box(1, (12, 12)), np.ones((11, 20, 1), np.float32), radius=1)


def test_tiles_smaller_than_the_field_are_refused() -> None:
    with pytest.raises(
        InputError,
        match="tiles of 8 pixels .* looks 4 pixels far.* at least 9; convert with a larger size",
    ):
        run_tiled(Box(4, (8, 8)), np.ones((30, 30, 1), np.float32), radius=4)


def test_fill_up_mirrors_at_the_bottom_and_right() -> None:
    image = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    filled = fill_up(image, (4, 3))
    np.testing.assert_array_equal(filled[:, :, 0], [[0, 1, 2], [3, 4, 5], [3, 4, 5], [0, 1, 2]])
    assert fill_up(image, (2, 2)) is image


@pytest.mark.parametrize("tile", [(48, 48), (43, 60), (70, 50)])
def test_a_span_network_in_tiles(network: SpanDeploy, image: np.ndarray, tile: tuple[int, int]) -> None:
    runner = open_runner(network, threads=1)
    whole = runner.run(image)
    tiled = run_tiled(runner, image, radius=network.receptive_radius, tile=tile)
    assert np.abs(tiled - whole).max() <= limit("tiled_float") * max(1.0, float(np.abs(whole).max()))


def test_a_span_network_with_too_small_a_radius(network: SpanDeploy, image: np.ndarray) -> None:
    runner = open_runner(network, threads=1)
    whole = runner.run(image)
    tiled = run_tiled(runner, image, radius=3, tile=(43, 43))
    assert np.abs(tiled - whole).max() > 10 * limit("tiled_float") * float(np.abs(whole).max())


def test_a_fixed_file_in_tiles_is_the_flexible_file(
    network: SpanDeploy, tflite_float, image: np.ndarray
) -> None:
    fixed: Runner = open_runner(tflite_float, threads=1, input_hw=(48, 56))
    tiled = run_tiled(fixed, image, radius=network.receptive_radius)
    whole = open_runner(tflite_float, threads=1).run(image)
    assert np.abs(tiled - whole).max() <= limit("tiled_float") * max(1.0, float(np.abs(whole).max()))
