import platform

import numpy as np
import pytest

from edge_eval.runtimes import coreml
from edge_eval.runtimes.coreml import CoreMLRunner, open_coreml
from models import InputError


class EnlargingModel:
    """Stands for a loaded MLModel: describes itself as a package does, and doubles height and width."""

    def __init__(self, *, io="image", channels=3, flexible=False):
        from coremltools.proto import Model_pb2

        self._spec = Model_pb2.Model()
        for name, features, side in (
            ("image", self._spec.description.input, 4),
            ("upscaled", self._spec.description.output, 8),
        ):
            feature = features.add(name=name)
            if io == "image":
                image = feature.type.imageType
                image.height, image.width = side, side
                image.colorSpace = image.RGB if channels == 3 else image.GRAYSCALE
                if flexible:
                    image.imageSizeRange.heightRange.lowerBound = (
                        image.imageSizeRange.widthRange.lowerBound
                    ) = 2
                    image.imageSizeRange.heightRange.upperBound = (
                        image.imageSizeRange.widthRange.upperBound
                    ) = 20
            else:
                array = feature.type.multiArrayType
                array.shape.extend((1, channels, side, side))
                array.dataType = array.FLOAT32
        self._is_image = io == "image"

    def get_spec(self):
        return self._spec

    def predict(self, given):
        value = np.asarray(given["image"])
        if not self._is_image:
            return {"upscaled": value.repeat(2, axis=2).repeat(2, axis=3)}
        larger = value.repeat(2, axis=0).repeat(2, axis=1)
        alpha = np.full((*larger.shape[:2], 1), 255, np.uint8)
        return {"upscaled": larger if larger.ndim == 2 else np.concatenate([larger, alpha], axis=2)}


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (4, 4, 3)).astype(np.float32) / np.float32(255)


@pytest.mark.parametrize("io", ["image", "tensor"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_go_in_and_come_out(image, tmp_path, io, channels):
    runner = CoreMLRunner(EnlargingModel(io=io, channels=channels), tmp_path)
    assert (runner.scale, runner.input_hw, runner.channels) == (2, (4, 4), channels)
    given = image[:, :, :channels]
    np.testing.assert_allclose(runner.run(given), given.repeat(2, axis=0).repeat(2, axis=1), atol=1e-7)


def test_any_size_in_the_range_goes(tmp_path):
    runner = CoreMLRunner(EnlargingModel(flexible=True), tmp_path)
    assert runner.input_hw is None
    assert runner.run(np.zeros((5, 20, 3), np.float32)).shape == (10, 40, 3)
    with pytest.raises(InputError, match="takes 2..20 x 2..20, and the image has 5x21"):
        runner.run(np.zeros((5, 21, 3), np.float32))


def test_one_size_can_be_pinned(tmp_path):
    runner = CoreMLRunner(EnlargingModel(flexible=True), tmp_path, input_hw=(6, 6))
    with pytest.raises(InputError, match="takes 6x6 pixels"):
        runner.run(np.zeros((5, 6, 3), np.float32))
    with pytest.raises(InputError, match="does not go at 30x30"):
        CoreMLRunner(EnlargingModel(flexible=True), tmp_path, input_hw=(30, 30))


def test_two_inputs_are_refused(tmp_path):
    model = EnlargingModel()
    model.get_spec().description.input.add(name="noise")
    with pytest.raises(InputError, match=r"has the inputs \['image', 'noise'\]; networks with one input"):
        CoreMLRunner(model, tmp_path)


@pytest.mark.skipif(platform.system() == "Darwin", reason="here Core ML runs")
def test_elsewhere_the_emulator_is_recommended(tmp_path):
    with pytest.raises(InputError, match="macOS only and this is .*; use the emulator, runtime mil"):
        open_coreml(tmp_path / "x.mlpackage", threads=1)


def test_unknown_units_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(coreml.platform, "system", lambda: "Darwin")
    with pytest.raises(InputError, match="compute units 'npu' are unknown; choose ALL, CPU_ONLY"):
        open_coreml(tmp_path / "x.mlpackage", threads=1, units="npu")
