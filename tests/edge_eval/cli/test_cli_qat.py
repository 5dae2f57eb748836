"""Quantization-aware training on the command line: what is written, resumed, and refused."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest
import torch

from edge_eval.qat import QatOptions
from edge_eval.quantized_file import is_quantized
from models.files import sha256_of
from quantize import load_quantized

Invoke = Callable[..., click.testing.Result]
SETTINGS = ("--batch", 2, "--crop", 12, "--validate-every", 2, "--hold-out", 1, "--device", "cpu")


@pytest.fixture
def train(
    invoke: Invoke, network_file: Path, calibration: Path, tmp_path: Path
) -> Callable[..., click.testing.Result]:
    """The command on two images, into `q.safetensors`."""

    def call(*arguments: object, steps: int = 4, checkpoint: Path = network_file) -> click.testing.Result:
        words = ("--method", "qat", "--data", calibration, *SETTINGS, "--steps", steps)
        return invoke("quantize", checkpoint, *words, "-o", tmp_path / "q.safetensors", *arguments)

    return call


def refusal(result: click.testing.Result) -> str:
    assert result.exit_code == 2, result.output + repr(result.exception)
    return result.stderr.strip().splitlines()[-1]


def same(one: Path, two: Path) -> bool:
    a, b = load_quantized(one), load_quantized(two)
    return a.activations == b.activations and all(
        torch.equal(weight.values, b.weights[name].values) and torch.equal(weight.bias, b.weights[name].bias)
        for name, weight in a.weights.items()
    )


@pytest.mark.parametrize("trains", ["folded", "branches"])
def test_training_writes_the_same_kind_of_checkpoint_as_ptq(
    train: Invoke, tmp_path: Path, network_file: Path, trains: str
) -> None:
    result = train(
        "--trains",
        trains,
        "--json",
        tmp_path / "q.json",
        "--teacher-share",
        0.5,
        "--plot",
        tmp_path / "c.svg",
    )
    assert result.exit_code == 0, result.output
    out = tmp_path / "q.safetensors"
    made = load_quantized(out)
    assert is_quantized(out) and made.provenance.source_sha256 == sha256_of(network_file)
    facts = json.loads((tmp_path / "q.json").read_text())
    assert facts["method"] == made.method
    training = facts["training"]
    assert [point["step"] for point in training["curve"]] == [0, 2, 4] and training["ended"] == "finished"
    assert training["gained_db"] >= 0
    # The start itself was searched for in two steps.
    assert made.provenance.steps - training["best_step"] in (0, 2)
    said = " ".join(result.output.split())
    assert "step 0, the start: held-out PSNR-Y" in said and "min left" in said
    assert re.search(r"4 steps, [\d.]+ min, finished", said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.svg", "q.json", "q.safetensors"]
    assert (tmp_path / "c.svg").read_text().count("<path") > 10
    assert "exists already; give --overwrite" in refusal(train())


def test_an_interrupted_training_leaves_the_best_and_goes_on_to_the_same_bytes(
    train: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.training import engine

    factor, calls = engine.step_size_factor, []

    def interrupt(*arguments: object) -> float:
        calls.append(arguments)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return factor(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(engine, "step_size_factor", interrupt)
        stopped = train()
    assert stopped.exit_code != 0 or "interrupted" in stopped.output
    assert "interrupted: the same command with --resume goes on" in " ".join(stopped.output.split())
    assert load_quantized(tmp_path / "q.safetensors").recipe == "w8a8"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "q.safetensors",
        "q.safetensors.quantizing",
        "q.safetensors.start.safetensors",
    ]
    resumed = train("--resume")
    assert resumed.exit_code == 0, resumed.output
    (tmp_path / "q.safetensors").rename(tmp_path / "resumed.safetensors")
    assert train().exit_code == 0
    assert same(tmp_path / "q.safetensors", tmp_path / "resumed.safetensors")
    assert (tmp_path / "q.safetensors").read_bytes() == (tmp_path / "resumed.safetensors").read_bytes()


def test_training_goes_on_from_a_quantized_checkpoint(
    train: Invoke, tmp_path: Path, quantized_file: Path, network_file: Path
) -> None:
    result = train("--reference", network_file, checkpoint=quantized_file)
    assert result.exit_code == 0, result.output
    start, made = load_quantized(quantized_file), load_quantized(tmp_path / "q.safetensors")
    assert [node.name for node in made.network.nodes] == [node.name for node in start.network.nodes]
    assert made.provenance.source_sha256 == sha256_of(network_file)
    other = ("--overwrite", "--reference", network_file, "--recipe", "w8")
    assert "was quantized by w8a8; leave --recipe out" in refusal(train(*other, checkpoint=quantized_file))


def no_compiler(_device: str) -> str:
    return "No working C++ compiler found"


def test_a_training_that_is_to_be_compiled_needs_a_compiler(
    train: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.training.why_not_compiled", no_compiler)
    assert refusal(train("--compile", "on")) == (
        "error: training cannot be compiled here: No working C++ compiler found; "
        "install a C++ compiler (g++, clang++), or give --compile off"
    )
    assert [*tmp_path.iterdir()] == []
    monkeypatch.setattr("edge_eval.qat.LONG_CROPS", 8)
    said = " ".join(train().output.split())
    assert "is not compiled (No working C++ compiler found), and takes longer" in said


def test_long_trainings_alone_are_compiled_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(**options: object) -> bool:
        return QatOptions(**options).settings(seed=0).plan.compiled  # type: ignore[arg-type]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("models.training.why_not_compiled", lambda _device: None)
    assert compiled() and compiled(minutes=10) and compiled(steps=2000, batch=8)
    assert not compiled(minutes=5) and not compiled(steps=100, batch=8) and not compiled(compiled="off")
    assert compiled(steps=1, compiled="on")
    monkeypatch.setattr("models.training.why_not_compiled", no_compiler)
    assert not compiled()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("models.training.why_not_compiled", lambda _device: None)
    assert not compiled(precision="float32") and compiled(device="cpu")
    assert compiled(precision="float32", compiled="on")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hold-out", 2), "cannot hold out 2 of 2 images"),
        (("--sensitivity",), "--sensitivity measures what ptq made of the images"),
        (("--minutes", 3), "either a number of steps or a number of minutes"),
        (("--crop", 40), "too small for crops of 40"),
        (("--smaller", "0.7,2"), "0.7,2: give parts between 0 and 1, as 0.7,0.5, or none"),
        (("--val", "absent"), "absent does not exist"),
        (("--method", "ptq"), "only quantization-aware training takes"),
        (("--method", "other"), "'other' is not in this version; there is ptq, qat"),
        (("--reference", "absent.pth"), "is a float checkpoint, its own reference; leave --reference out"),
        (("--resume",), "of an interrupted search; leave --resume out"),
    ],
)
def test_wrong_settings_are_refused(
    train: Invoke, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    assert message in refusal(train(*arguments))
    assert not (tmp_path / "q.safetensors").exists()


def test_a_folder_for_the_held_out_images(train: Invoke, images: Path, invoke: Invoke) -> None:
    result = train("--val", images)
    assert result.exit_code == 0, result.output
    assert "2 images" in " ".join(result.output.split())
