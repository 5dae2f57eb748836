"""Quantization on the command line: what is written, that both formats get the same, and what is refused."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from PIL import Image

from convert.formats import read_artifact
from edge_eval.quantized_file import is_quantized
from edge_eval.runner import to_frame, to_image
from edge_eval.runtimes.table import open_runner
from models.files import sha256_of
from quantize import load_quantized
from quantize.recipe import RECIPES
from quantize.rewrite import MASKS

Invoke = Callable[..., click.testing.Result]
Finished = tuple[Path, click.testing.Result]


def refusal(result: click.testing.Result) -> str:
    """The last line that was said, of a command that ended with bad input."""
    assert result.exit_code == 2, result.output + repr(result.exception)
    return result.stderr.strip().splitlines()[-1]


def test_quantize_writes_a_checkpoint_that_says_what_it_was_made_from(
    invoke: Invoke, network_file: Path, calibration: Path, tmp_path: Path
) -> None:
    out, target = tmp_path / "q.safetensors", tmp_path / "q.json"
    arguments = ("quantize", network_file, "--data", calibration, "--seed", 3, "-o", out)
    result = invoke(*arguments, "--json", target)
    assert result.exit_code == 0, result.output
    assert is_quantized(out) and not is_quantized(network_file)
    made = load_quantized(out)
    assert (made.recipe, made.method, made.provenance.seed) == ("w8a8", "ptq", 3)
    assert made.provenance.source_sha256 == sha256_of(network_file)
    document = json.loads(target.read_text())
    assert document["sha256"] == sha256_of(out)
    assert document["calibration"] == {
        "name": calibration.name,
        "images": 2,
        "sha256": made.provenance.images_sha256,
    }
    said = " ".join(result.stdout.split())
    assert f"effort fast, {made.provenance.steps} steps, seed 3" in said
    assert made.provenance.images_sha256 in said
    assert [path.name for path in tmp_path.iterdir() if "quantizing" in path.name] == []
    assert "exists already; give --overwrite" in refusal(invoke(*arguments))


def test_sensitivity_is_a_table_and_a_picture(
    invoke: Invoke, network_file: Path, calibration: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.safetensors"
    result = invoke(
        "quantize", network_file, "--data", calibration, "--sensitivity", "-o", out, "--json", "-"
    )
    assert result.exit_code == 0, result.output
    costs = json.loads(result.stdout)["sensitivity"]
    made = load_quantized(out)
    assert {c["name"] for c in costs if c["kind"] == "activation"} == set(made.activations)
    assert {c["name"] for c in costs if c["kind"] == "weight"} == set(made.weights)
    assert [c["error"] for c in costs] == sorted((c["error"] for c in costs), reverse=True)
    of_image = [c["error"] for c in costs if c["name"] in MASKS]
    assert len(of_image) == 4 and max(of_image) < 1e-3 < costs[0]["error"], "any scale holds the image"
    with Image.open(tmp_path / "q_sensitivity.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "other"), "'other' is not in this version; there is ptq, qat"),
        (("--recipe", "fp16"), "'fp16' is not one of"),
        (("--plot", "a.png"), "--plot a.png shows what --sensitivity measures; give that too"),
        (("--sensitivity", "--plot", "a.gif"), "a.gif: a plot's name ends in .png, .svg, .pdf"),
        (("--resume",), "of an interrupted search; leave --resume out"),
        (("--data", "absent"), "absent does not exist; give an image"),
    ],
)
def test_quantize_refuses(
    invoke: Invoke, network_file: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("quantize", network_file, *arguments, "-o", tmp_path / "q.safetensors")
    assert message in refusal(result)
    assert list(tmp_path.iterdir()) == []


def test_quantize_refuses_another_suffix_and_a_quantized_checkpoint(
    invoke: Invoke, network_file: Path, quantized_file: Path, tmp_path: Path
) -> None:
    assert "ends in .safetensors" in refusal(invoke("quantize", network_file, "-o", tmp_path / "q.pth"))
    again = invoke("quantize", quantized_file, "-o", tmp_path / "q.safetensors")
    assert "is a quantized checkpoint; give the float checkpoint it was made from" in refusal(again)


def test_an_interrupted_search_is_taken_up_or_begun_anew_only_on_request(
    invoke: Invoke,
    network_file: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from models.training import engine

    factor, out = engine.step_size_factor, tmp_path / "q.safetensors"
    command = ("quantize", network_file, "--data", calibration, "-o", out)
    begun: list[float] = []

    def noted(plan: Any, done: float) -> float:
        begun.append(done)
        return factor(plan, done)

    def interrupted(plan: Any, done: float) -> float:
        signal.raise_signal(signal.SIGINT)
        return factor(plan, done)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "step_size_factor", interrupted)
        stopped = invoke(*command)
    assert stopped.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors.quantizing"]
    assert "give --resume to go on" in refusal(invoke(*command))
    monkeypatch.setattr(engine, "step_size_factor", noted)
    assert invoke(*command, "--resume").exit_code == 0
    assert invoke(*command, "--overwrite").exit_code == 0
    assert begun == [0.5, 0.0, 0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors"]


def test_a_search_interrupted_between_starts_is_taken_up_or_begun_anew_only_on_request(
    invoke: Invoke,
    network_file: Path,
    calibration: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from quantize import ptq

    monkeypatch.setitem(ptq.EFFORTS, "fast", replace(ptq.EFFORTS["fast"], starts=2, steps=0))
    out, made = tmp_path / "q.safetensors", []
    command = ("quantize", network_file, "--data", calibration, "-o", out)
    prepare = ptq.prepare

    def interrupted(*arguments: Any) -> ptq.Start:
        if made:
            signal.raise_signal(signal.SIGINT)
        made.append(arguments)
        return prepare(*arguments)

    monkeypatch.setattr(ptq, "prepare", interrupted)
    assert invoke(*command).exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors.start.safetensors"]
    monkeypatch.setattr(ptq, "prepare", prepare)
    assert "left" in (said := refusal(invoke(*command))) and "give --resume to go on" in said
    resumed = invoke(*command, "--resume")
    assert resumed.exit_code == 0 and "best of 2 starts" in " ".join(resumed.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["q.safetensors"]


def test_both_formats_are_made_of_one_quantized_checkpoint(finished_run: Finished) -> None:
    folder = finished_run[0]
    record = json.loads((folder / "run.json").read_text())
    assert next((step["artifact"], step["status"]) for step in record["artifacts"]) == (
        "small_w8a8.safetensors",
        "OK",
    )
    (agreed,) = record["agreement"]
    assert (agreed["first"], agreed["second"]) == ("small_w8a8.tflite", "small_w8a8.mlpackage")
    assert agreed["images"] == 2 and (agreed["psnr_db"] is None or agreed["psnr_db"] > 40)
    assert record["calibration"]["images"] == 2
    for name in ("small_w8a8.tflite", "small_w8a8.mlpackage"):
        assert read_artifact(folder / name).info.source.method == "ptq"


def test_the_tflite_file_gives_what_the_quantized_checkpoint_simulates(
    quantized_file: Path, integer_file: Path
) -> None:
    random = np.random.default_rng(3)
    image = to_image(random.integers(0, 256, (48, 44, 3), dtype=np.uint8))
    simulated = to_frame(open_runner(quantized_file, threads=1).run(image))
    given = to_frame(open_runner(integer_file, threads=1).run(image))
    assert np.array_equal(given, simulated)


def test_eval_takes_a_quantized_checkpoint_and_finds_its_float_one(
    invoke: Invoke, quantized_file: Path, network_file: Path, images: Path, tmp_path: Path
) -> None:
    for file in (quantized_file, network_file):
        shutil.copy(file, tmp_path)
    result = invoke("eval", tmp_path / quantized_file.name, "--data", images, "--json", "-")
    (row,) = json.loads(result.stdout)["results"]
    assert (row["format"], row["recipe"], row["method"]) == ("checkpoint", "w8a8", "ptq")
    assert row["runtime"] == "torch" and row["drop_db"] != 0
    (tmp_path / network_file.name).unlink()
    alone = invoke("eval", tmp_path / quantized_file.name, "--data", images)
    assert "was made from 'small'" in refusal(alone)


def test_bench_says_why_a_simulation_has_no_time(invoke: Invoke, quantized_file: Path) -> None:
    result = invoke("bench", quantized_file, "--runs", 1, "--size", "16x16", "--json", "-")
    (row,) = json.loads(result.stdout)["results"]
    assert row["median_ms"] is None and "simulates integers in float" in row["reason"]
    assert row["ops"]["conv2d"] == sum(1 for _ in load_quantized(quantized_file).weights)


def test_upscale_takes_a_quantized_checkpoint(
    invoke: Invoke, quantized_file: Path, images: Path, tmp_path: Path
) -> None:
    result = invoke("upscale", images / "small.png", "--model", quantized_file, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert Image.open(tmp_path / "small.png").size == (72, 80)
    options = ("--model", quantized_file, "--img-range", 1, "-o", tmp_path / "other")
    assert "leave --img-range and --rgb-mean out" in refusal(
        invoke("upscale", images / "small.png", *options)
    )


def test_inspect_shows_integers_and_scales_of_a_quantized_checkpoint(
    invoke: Invoke, quantized_file: Path
) -> None:
    document = json.loads(invoke("inspect", quantized_file, "--json").stdout)
    made = load_quantized(quantized_file)
    assert (document["kind"], document["recipe"], document["method"]) == (
        "quantized checkpoint",
        "w8a8",
        "ptq",
    )
    assert document["tensors"] == {"int8": len(made.activations)}
    assert document["int8_weights"] == sum(w.values.numel() for w in made.weights.values())
    assert document["scales"][0] == {
        "tensor": "image",
        "scale": 1 / 255,
        "zero_point": -128,
        "dtype": "int8",
        "low": 0.0,
        "high": 1.0,
    }
    shown = invoke("inspect", quantized_file).stdout
    assert "zero point" in shown and "conv_1" in shown and "source_name small" in " ".join(shown.split())


def test_inspect_says_whether_a_tflite_file_is_wholly_integer_and_delegated(
    invoke: Invoke, integer_file: Path, tflite_file: Path
) -> None:
    integer = json.loads(invoke("inspect", integer_file, "--json").stdout)
    floating = json.loads(invoke("inspect", tflite_file, "--json").stdout)
    assert (integer["wholly_integer"], floating["wholly_integer"]) == (True, False)
    assert integer["xnnpack"]["partitions"] == 1
    assert set(integer["xnnpack"]["outside"]) <= {"QUANTIZE"}
    shown = " ".join(invoke("inspect", integer_file).stdout.split())
    assert "wholly integer yes" in shown and "int8" in shown


@pytest.mark.parametrize("format_name", ["tflite", "coreml"])
def test_convert_takes_a_quantized_checkpoint_with_its_own_recipe(
    invoke: Invoke, quantized_file: Path, network_file: Path, tmp_path: Path, format_name: str
) -> None:
    out = tmp_path / ("a.tflite" if format_name == "tflite" else "a.mlpackage")
    result = invoke("convert", quantized_file, "--format", format_name, "--size", "16x16", "-o", out)
    assert result.exit_code == 0, result.output
    assert f"{format_name} w8a8 ptq" in result.stdout
    info = read_artifact(out).info
    assert (info.recipe, info.source.method) == ("w8a8", "ptq")
    assert info.source.sha256 == sha256_of(network_file)


def test_convert_quantizes_a_float_checkpoint_where_the_recipe_asks_for_it(
    invoke: Invoke, network_file: Path, calibration: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a.tflite"
    command = ("convert", network_file, "--format", "tflite", "--recipe", "w8", "--size", "16x16", "-o", out)
    result = invoke(*command, "--calibration", calibration)
    assert result.exit_code == 0, result.output
    info = read_artifact(out).info
    assert (info.recipe, info.source.method) == ("w8", "ptq")


def test_convert_refuses_what_does_not_fit(
    invoke: Invoke, network_file: Path, quantized_file: Path, tmp_path: Path
) -> None:
    end = ("--format", "tflite", "-o", tmp_path / "a.tflite")
    assert "fp16 needs no images; leave --effort out" in refusal(
        invoke("convert", network_file, "--effort", "best", *end)
    )
    assert "is quantized already; leave --calibration, --seed out" in refusal(
        invoke("convert", quantized_file, "--calibration", tmp_path, "--seed", 1, *end)
    )
    assert "was quantized by 'w8a8'" in refusal(invoke("convert", quantized_file, "--recipe", "fp16", *end))
    assert "TensorFlow Lite has no recipe pal8; it has fp32" in refusal(
        invoke("convert", network_file, "--recipe", "pal8", *end)
    )


def test_help_shows_every_recipe_and_the_formats_that_have_it(invoke: Invoke) -> None:
    shown = invoke("convert", "--help").stdout
    for row in RECIPES.values():
        assert re.search(rf"^ +{row.name} +{row.title} \({' and '.join(row.formats)}\)", shown, re.MULTILINE)


def test_run_of_a_quantized_checkpoint_keeps_its_numbers(
    invoke: Invoke, quantized_file: Path, network_file: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("run", quantized_file, "--data", images, "--formats", "tflite", "--size", "48x44", "--runs", 0)
    result = invoke(*command, "--reference", network_file, "--out", out)
    assert result.exit_code == 0, result.output
    first, again = load_quantized(quantized_file), load_quantized(out / "small_w8a8.safetensors")
    assert first.activations == again.activations and first.provenance == again.provenance
    assert read_artifact(out / "small_w8a8.tflite").info.source.sha256 == sha256_of(network_file)
    assert json.loads((out / "run.json").read_text())["calibration"] is None
    end = ("--out", tmp_path / "other")
    assert "was made from 'small'" in refusal(invoke(*command, *end))
    other = invoke(*command, "--reference", network_file, "--recipes", "fp16", *end)
    assert "was quantized by w8a8; leave --recipes out" in refusal(other)


def test_a_reference_of_another_network_is_refused_before_any_work(
    invoke: Invoke, quantized_file: Path, network_file: Path, images: Path, tmp_path: Path
) -> None:
    training = (
        "quantize",
        quantized_file,
        "--method",
        "qat",
        "--data",
        images,
        "--steps",
        1,
        "-o",
        tmp_path / "q.safetensors",
    )
    message = refusal(invoke(*training, "--reference", network_file, "--img-range", 255))
    assert "is not the network that" in message and "(img_range 255.0, not 1.0)" in message
    assert not [*tmp_path.iterdir()]


def test_run_refuses_before_any_work(
    invoke: Invoke, network_file: Path, images: Path, tmp_path: Path
) -> None:
    command = ("run", network_file, "--data", images, "--out", tmp_path / "out")
    shared = refusal(invoke(*command, "--calibration", images))
    assert "2 of the 2 evaluation images (large, small) are among the calibration images" in shared
    assert "is a float checkpoint, its own reference" in refusal(
        invoke(*command, "--reference", network_file)
    )
    assert "none of pal8 is made for tflite" in refusal(
        invoke(*command, "--recipes", "pal8", "--formats", "tflite")
    )
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_quantized_is_failed_and_what_a_format_does_not_have_is_skipped(
    invoke: Invoke, network_file: Path, images: Path, tmp_path: Path
) -> None:
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    Image.new("RGB", (20, 20)).save(tiny / "a.png")
    out = tmp_path / "out"
    result = invoke(
        "run", network_file, "--data", images, "--calibration", tiny, "--recipes", "fp32,w8a8,pal8",
        "--formats", "tflite", "--size", "48x44", "--runs", 0, "--out", out,
    )  # fmt: skip
    assert result.exit_code == 1
    steps = {step["artifact"]: step for step in json.loads((out / "run.json").read_text())["artifacts"]}
    assert "calibration image 1 is 10x10 (HxW), reduced" in steps["small_w8a8.safetensors"]["reason"]
    assert steps["small_w8a8.tflite"]["reason"].startswith("not quantized: calibration image 1")
    assert (steps["small_pal8.tflite"]["status"], steps["small_fp32.tflite"]["status"]) == ("SKIPPED", "OK")
    assert not (out / "small_w8a8.safetensors").exists()
