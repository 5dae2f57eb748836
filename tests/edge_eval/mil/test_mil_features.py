"""Shapes and images that programs take and give."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mil_checks import FRAME, IMAGE, in_float64, refusal
from mil_networks import PixelsOut, SmallSpan, convert, small_network
from PIL import Image

from edge_eval.mil import Machine, Program, load_program


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return load_program(small_network(tmp_path_factory.mktemp("half") / "net.mlpackage"))


def image_program(path: Path, **options: Any) -> Program:
    """`SmallSpan` from image to image."""
    import coremltools as ct

    colors = 1 if "GRAY" in options.get("layout", "RGB") else 3
    layout = getattr(ct.colorlayout, options.get("layout", "RGB"))
    shape = options.get("shape", (1, colors, 16, 20))
    return load_program(
        convert(
            PixelsOut(SmallSpan(colors=colors)),
            path,
            example=torch.rand(1, colors, 16, 20),
            inputs=[ct.ImageType("image", shape=shape, color_layout=layout, scale=1 / 255)],
            outputs=[ct.ImageType("upscaled", color_layout=layout)],
            compute_precision=ct.precision.FLOAT32,
        )
    )


def test_enumerated_shapes(tmp_path):
    import coremltools as ct

    shapes = ct.EnumeratedShapes([(1, 3, 16, 20), (1, 3, 8, 12)])
    program = load_program(
        small_network(tmp_path / "n.mlpackage", inputs=[ct.TensorType("image", shape=shapes)])
    )
    assert program.inputs[0].is_flexible
    machine = Machine(program)
    assert machine.run({"image": IMAGE.numpy()})["upscaled"].shape == (1, 3, 32, 40)
    assert machine.run({"image": IMAGE[..., :8, :12].numpy()})["upscaled"].shape == (1, 3, 16, 24)
    message = refusal(machine, {"image": IMAGE[..., :8, :8].numpy()})
    assert "takes one of 1 x 3 x 16 x 20, 1 x 3 x 8 x 12, not 1 x 3 x 8 x 8" in message.replace(
        "1 x 3 x 8 x 12, 1 x 3 x 16 x 20", "1 x 3 x 16 x 20, 1 x 3 x 8 x 12"
    )


def test_ranges_of_shapes(tmp_path):
    import coremltools as ct

    shape = (1, 3, ct.RangeDim(8, 24, default=16), ct.RangeDim(4, 40, default=20))
    program = load_program(
        small_network(tmp_path / "n.mlpackage", inputs=[ct.TensorType("image", shape=shape)])
    )
    machine = Machine(program)
    for h, w in ((16, 20), (8, 4), (11, 17)):
        assert machine.run({"image": IMAGE[..., :h, :w].numpy()})["upscaled"].shape == (1, 3, 2 * h, 2 * w)
    message = refusal(machine, {"image": np.zeros((1, 3, 7, 20), np.float32)})
    assert "'image' takes 1 x 3 x 8..24 x 4..40, not 1 x 3 x 7 x 20" in message


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_images_in_and_out(layout, tmp_path):
    program = image_program(tmp_path / "n.mlpackage", layout=layout)
    assert (program.inputs[0].kind, program.inputs[0].color, program.inputs[0].shape) == (
        "image",
        layout,
        (16, 20),
    )
    order = [0, 1, 2] if layout == "RGB" else [2, 1, 0]
    planes = torch.from_numpy(FRAME[:, :, order].copy()).permute(2, 0, 1)[None]
    raw = in_float64(PixelsOut(SmallSpan()), planes / 255)[0].transpose(1, 2, 0)[:, :, order]
    machine = Machine(program)
    frame = machine.run({"image": FRAME})["upscaled"]
    assert frame.dtype == np.uint8
    assert frame.shape == (32, 40, 3)
    sure = np.abs(raw - np.floor(raw) - 0.5) > 1e-3
    np.testing.assert_array_equal(frame[sure], np.rint(raw)[sure])
    np.testing.assert_array_equal(machine.run({"image": Image.fromarray(FRAME)})["upscaled"], frame)
    unrounded = machine.run({"image": FRAME}, raw=True)["upscaled"]
    assert unrounded.shape == (1, 3, 32, 40)
    np.testing.assert_allclose(unrounded[0].transpose(1, 2, 0)[:, :, order], raw, atol=2e-3)


def test_grey_images(tmp_path):
    program = image_program(tmp_path / "n.mlpackage", layout="GRAYSCALE")
    machine = Machine(program)
    frame = machine.run({"image": FRAME[:, :, 0]})["upscaled"]
    assert frame.shape == (32, 40)
    np.testing.assert_array_equal(machine.run({"image": FRAME[:, :, :1]})["upscaled"], frame)
    np.testing.assert_array_equal(machine.run({"image": Image.fromarray(FRAME[:, :, 0])})["upscaled"], frame)
    assert "takes uint8 (H, W) grey, not uint8 (16, 20, 3)" in refusal(machine, {"image": FRAME})


def test_image_outputs_are_clipped_and_rounded_half_to_even(tmp_path):
    """Our assumption, stated in the package's docstring: 0..255, half to even."""
    import coremltools as ct
    from torch import nn

    class Shift(nn.Module):
        def forward(self, x):
            return x * 1.5 - 20

    path = convert(
        Shift(),
        tmp_path / "n.mlpackage",
        example=torch.rand(1, 3, 16, 20),
        inputs=[ct.ImageType("image", shape=(1, 3, 16, 20))],
        outputs=[ct.ImageType("upscaled")],
    )
    frame = Machine(load_program(path)).run({"image": FRAME})["upscaled"]
    np.testing.assert_array_equal(frame, np.clip(np.rint(FRAME.astype(np.float16) * 1.5 - 20), 0, 255))


def test_wrong_images_are_refused(tmp_path):
    machine = Machine(image_program(tmp_path / "n.mlpackage"))
    assert "takes 16 x 20, not 8 x 20" in refusal(machine, {"image": FRAME[:8]})
    assert "takes uint8 (H, W, 3) RGB, not float32 (16, 20, 3)" in refusal(
        machine, {"image": FRAME / np.float32(255)}
    )
    assert "takes uint8 (H, W, 3) RGB, not uint8 (16, 20)" in refusal(machine, {"image": FRAME[:, :, 0]})
    grey = Image.fromarray(FRAME[:, :, 0])
    assert "not a PIL image of mode L; convert it first" in refusal(machine, {"image": grey})
    palette = Image.fromarray(FRAME).convert("P")
    assert "not a PIL image of mode P; convert it first" in refusal(machine, {"image": palette})


def test_wrong_tensors_are_refused(half):
    machine = Machine(half)
    assert "takes the inputs ['image'], not []" in refusal(machine, {})
    assert "takes the inputs ['image'], not ['image', 'x']" in refusal(machine, {"image": IMAGE, "x": IMAGE})
    assert "'image' takes 1 x 3 x 16 x 20, not 3 x 16 x 20" in refusal(machine, {"image": IMAGE[0]})
    assert "takes floats (float16), not uint8" in refusal(
        machine, {"image": np.zeros((1, 3, 16, 20), np.uint8)}
    )
    holed = IMAGE.clone()
    holed[0, 0, 0, 0] = torch.nan
    assert "holds NaN or infinity" in refusal(machine, {"image": holed})


def test_float64_and_torch_inputs_are_rounded_to_the_declared_type(half):
    machine = Machine(half)
    expected = machine.run({"image": IMAGE.half().numpy()})["upscaled"]
    for given in (IMAGE, IMAGE.numpy(), IMAGE.half().double().numpy()):
        np.testing.assert_array_equal(machine.run({"image": given})["upscaled"], expected)
