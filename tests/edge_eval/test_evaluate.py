"""Quality of an artifact over a dataset: the fields of `eval --json`, against figures taken by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.artifact import Artifact
from edge_eval import metrics
from edge_eval.datasets import Dataset, Sample, open_dataset
from edge_eval.evaluate import FloatReference, Subject, evaluate, score_image
from edge_eval.runner import FloatImage, to_frame, to_image
from edge_eval.runtimes.table import open_runner
from edge_eval.tolerances import PUBLISHED_PSNR_Y_DB, TOLERANCES, limit
from models import load_checkpoint
from models.errors import InputError

FIELDS = [
    "artifact",
    "sha256",
    "size_bytes",
    "format",
    "recipe",
    "method",
    "runtime",
    "dataset",
    "scale",
    "images",
    "psnr_y_db",
    "ssim_y",
    "float_psnr_y_db",
    "drop_db",
    "drift_psnr_y_db",
    "max_abs_8bit",
    "per_image",
]
IMAGE_FIELDS = [
    "name",
    "psnr_y_db",
    "ssim_y",
    "float_psnr_y_db",
    "drop_db",
    "drift_psnr_y_db",
    "max_abs_8bit",
]
SUBJECT = Subject(artifact="a.tflite", sha256="0", format="tflite", recipe="fp32", method=None)


class Doubling:
    """A stand-in for a network: every pixel twice, plus an offset, with one bad pixel if asked."""

    runtime = "doubling"
    scale = 2

    def __init__(
        self, offset: float = 0.0, *, input_hw: tuple[int, int] | None = None, bad: float | None = None
    ) -> None:
        self.offset = np.float32(offset)
        self.input_hw = input_hw
        self.bad = bad
        self.calls = 0

    def run(self, image: FloatImage) -> FloatImage:
        self.calls += 1
        output = image.repeat(2, 0).repeat(2, 1) + self.offset
        if self.bad is not None:
            output[3, 3, 0] = self.bad
        return output


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    rng = np.random.default_rng(4)
    for name, hw in (("a", (40, 44)), ("b", (36, 60))):
        smooth = rng.integers(40, 200, (hw[0] // 4, hw[1] // 4, 3), dtype=np.uint8)
        Image.fromarray(smooth).resize(hw[::-1], Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    return open_dataset(tmp_path, scale=2)


def reference(dataset: Dataset, runner: Doubling | None = None) -> FloatReference:
    return FloatReference(runner or Doubling(), dataset, radius=0)


def test_the_fields_are_those_of_the_contract(dataset: Dataset) -> None:
    entry = evaluate(Doubling(0.02), reference(dataset), SUBJECT).to_json()
    assert list(entry) == FIELDS
    assert [list(image) for image in entry["per_image"]] == [IMAGE_FIELDS] * 2
    assert (entry["images"], entry["scale"], entry["runtime"]) == (2, 2, "doubling")


def test_figures_are_those_taken_by_hand(dataset: Dataset) -> None:
    evaluation = evaluate(Doubling(0.02), reference(dataset), SUBJECT)
    drops = []
    for sample, image in zip(dataset, evaluation.per_image, strict=True):
        expected = to_image(sample.lr).repeat(2, 0).repeat(2, 1)
        plain, shifted = to_frame(expected), to_frame(expected + np.float32(0.02))
        psnr = metrics.psnr_y_db(shifted, sample.hr, border=2)
        float_psnr = metrics.psnr_y_db(plain, sample.hr, border=2)
        assert image.psnr_y_db == psnr and image.float_psnr_y_db == float_psnr
        assert image.drop_db == float_psnr - psnr
        assert image.ssim_y == metrics.ssim_y(shifted, sample.hr, border=2)
        assert image.drift_psnr_y_db == metrics.psnr_y_db(shifted, plain, border=2)
        assert image.max_abs_8bit == 5 and image.output_drift_db == pytest.approx(33.979, abs=1e-2)
        drops.append(image.drop_db)
    assert evaluation.drop_db == pytest.approx(np.mean(drops)) and evaluation.max_abs_8bit == 5
    assert evaluation.least_output_drift_db == min(i.output_drift_db for i in evaluation.per_image)


def test_an_identical_artifact_has_no_drift(dataset: Dataset) -> None:
    evaluation = evaluate(Doubling(), reference(dataset), SUBJECT)
    assert evaluation.drift_psnr_y_db is None and evaluation.max_abs_8bit == 0 and evaluation.drop_db == 0
    assert evaluation.least_output_drift_db is None


def test_without_the_truth_drift_remains(dataset: Dataset) -> None:
    alone = open_dataset(lr=dataset.pairs[0].hr.parent, scale=2)
    evaluation = evaluate(Doubling(0.02), reference(alone), SUBJECT)
    assert evaluation.psnr_y_db is None and evaluation.drop_db is None and evaluation.ssim_y is None
    assert evaluation.drift_psnr_y_db is not None and evaluation.max_abs_8bit == 5


def test_the_reference_runs_once_for_all_artifacts(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Doubling()
    shared = reference(dataset, runner)
    for offset in (0.0, 0.1, 0.2):
        evaluate(Doubling(offset), shared, SUBJECT)
    assert runner.calls == len(dataset)
    monkeypatch.setattr("edge_eval.evaluate.CACHE_BYTES", 0)
    uncached = reference(dataset, runner)
    for _ in range(2):
        evaluate(Doubling(), uncached, SUBJECT)
    assert runner.calls == 3 * len(dataset)


def test_large_images_go_through_fixed_files_in_tiles(dataset: Dataset) -> None:
    whole = evaluate(Doubling(0.02), reference(dataset), SUBJECT)
    tiled = evaluate(Doubling(0.02, input_hw=(10, 12)), reference(dataset), SUBJECT)
    assert tiled.per_image == whole.per_image


def test_small_images_are_refused_or_mirrored_for_both(dataset: Dataset) -> None:
    fixed = Doubling(0.02, input_hw=(20, 20))
    with pytest.raises(
        InputError, match=r"a\.tflite on b: the image has 18 pixels along a side where .* exactly 20"
    ):
        evaluate(fixed, reference(dataset), SUBJECT)
    evaluation = evaluate(fixed, reference(dataset), SUBJECT, small="mirror")
    assert [image.mirrored for image in evaluation.per_image] == [False, True]
    whole = evaluate(Doubling(0.02), reference(dataset), SUBJECT)
    assert evaluation.psnr_y_db == pytest.approx(whole.psnr_y_db)


class Emulated(Doubling):
    """One that goes at any size too, as the emulator does."""

    def any_size(self) -> Doubling:
        return Doubling(float(self.offset))


def test_small_images_go_whole_through_an_emulator(dataset: Dataset) -> None:
    fixed = Emulated(0.02, input_hw=(20, 20))
    with pytest.raises(InputError, match=r"on b: the image has 18 pixels along a side"):
        evaluate(fixed, reference(dataset), SUBJECT)
    evaluation = evaluate(fixed, reference(dataset), SUBJECT, small="mirror")
    assert [(image.mirrored, image.whole) for image in evaluation.per_image] == [
        (False, False),
        (False, True),
    ]
    whole = evaluate(Doubling(0.02), reference(dataset), SUBJECT)
    assert evaluation.psnr_y_db == whole.psnr_y_db


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_an_error_that_names_the_image(dataset: Dataset, bad: float) -> None:
    with pytest.raises(InputError, match=r"a\.tflite on a: 1 of \d+ output values are NaN or infinite"):
        evaluate(Doubling(bad=bad), reference(dataset), SUBJECT)


def test_scales_must_agree(dataset: Dataset) -> None:
    four = open_dataset(dataset.pairs[0].hr.parent, scale=4)
    with pytest.raises(
        InputError, match="is for scale 4 and the reference network enlarges 2 times; give the"
    ):
        reference(four)
    shared = reference(dataset)
    wrong = Doubling()
    wrong.scale = 3
    with pytest.raises(
        InputError, match=r"a\.tflite enlarges 3 times, and the dataset and reference are for 2"
    ):
        evaluate(wrong, shared, SUBJECT)


def test_look_sees_what_was_judged(dataset: Dataset) -> None:
    seen: list[tuple[str, float]] = []

    def look(sample: Sample, expected: FloatImage, output: FloatImage) -> None:
        seen.append((sample.name, float(np.abs(output - expected).max())))

    evaluate(Doubling(0.5), reference(dataset), SUBJECT, look=look)
    assert seen == [("a", pytest.approx(0.5)), ("b", pytest.approx(0.5))]


def test_grey_frames_are_judged_on_their_channel() -> None:
    lr = np.full((20, 20, 1), 100, np.uint8)
    hr = np.full((20, 20, 1), 110, np.uint8)
    image = score_image(Sample(name="g", lr=lr, hr=hr), to_image(lr), to_image(hr), border=1)
    assert image.psnr_y_db == pytest.approx(20 * np.log10(255 / 10)) and image.float_psnr_y_db is None


def test_subjects(tflite_float: Artifact) -> None:
    subject = Subject.of(tflite_float)
    assert (subject.artifact, subject.format, subject.recipe) == ("float.tflite", "tflite", "fp32")
    assert subject.sha256 == tflite_float.sha256 and subject.method is None
    assert subject.size_bytes == tflite_float.path.stat().st_size


def test_the_chain_gives_the_published_psnr(shared_weights: Path, shared_images: Path) -> None:
    """Dataset, runner, rounding and metric together; tests/parity has the other scale and test sets."""
    checkpoint = load_checkpoint(shared_weights / "spanx4_ch48_deploy.pth")
    runner = open_runner(checkpoint, threads=1)
    shared = FloatReference(runner, open_dataset(shared_images / "Set5", scale=4), radius=21)
    evaluation = evaluate(runner, shared, Subject.of(checkpoint))
    assert evaluation.psnr_y_db == pytest.approx(
        PUBLISHED_PSNR_Y_DB[4]["Set5"], abs=limit("published_psnr_y")
    )
    assert evaluation.drift_psnr_y_db is None


def test_every_tolerance_has_an_origin() -> None:
    for name, tolerance in TOLERANCES.items():
        assert tolerance.limit > 0 and tolerance.unit and len(tolerance.origin) > 10, name
