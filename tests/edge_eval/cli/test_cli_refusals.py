"""What users give that cannot be used: exit code 2, one line that says what to do, and nothing written."""

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import click.testing
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from edge_eval import datasets
from edge_eval.cli import span_edge
from models import load_checkpoint

Invoke = Callable[..., click.testing.Result]
Maker = Callable[[Path, Path], object]

NOISE = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)


def refused(result: click.testing.Result) -> str:
    """The one line that was said, of a command that ended with exit code 2."""
    lines = [line for line in result.stderr.splitlines() if not line.startswith("load and fold")]
    assert (result.exit_code, len(lines)) == (2, 1), result.output + repr(result.exception)
    assert lines[0].startswith("error: ") and "Traceback" not in result.output
    return lines[0]


class Code:
    """An object whose pickle makes a file when it is loaded carelessly."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("code-was-run",)


def with_nan(path: Path, network: Path) -> None:
    state = load_checkpoint(network).network.state_dict()
    torch.save({**state, "conv_cat.bias": torch.full_like(state["conv_cat.bias"], float("nan"))}, path)


CHECKPOINTS: dict[str, tuple[str, Maker, str]] = {
    "absent": (
        "a.pth",
        lambda path, _: None,
        "and no checkpoint of that name comes with span-edge; give a checkpoint file",
    ),
    "folder": ("a.pth", lambda path, _: path.mkdir(), "is a folder; give the checkpoint file in it"),
    "empty": ("a.pth", lambda path, _: path.touch(), "is empty; download or copy it again"),
    "truncated": (
        "a.pth",
        lambda path, _: (torch.save({"a": torch.ones(9, 9)}, path), os.truncate(path, 400)),
        "is damaged, truncated or not a checkpoint",
    ),
    "truncated safetensors": (
        "a.safetensors",
        lambda path, network: path.write_bytes(network.read_bytes()[:3000]),
        "is damaged or truncated",
    ),
    "random bytes": (
        "a.pth",
        lambda path, _: path.write_bytes(np.random.default_rng(0).bytes(5000)),
        "is neither a PyTorch checkpoint",
    ),
    "code in an archive": (
        "a.pth",
        lambda path, _: torch.save({"params": Code()}, path),
        "wants to run code",
    ),
    "code in a pickle": (
        "a.pth",
        lambda path, _: path.write_bytes(pickle.dumps(Code(), 2)),
        "wants to run code",
    ),
    "another network": (
        "a.safetensors",
        lambda path, _: save_file({"body.0.weight": torch.zeros(3, 3, 3, 3)}, path),
        "is not a SPAN",
    ),
    "an image": (
        "a.png",
        lambda path, _: Image.fromarray(NOISE).save(path),
        "is neither a PyTorch checkpoint",
    ),
    "NaN weights": ("a.pth", with_nan, "holds NaN or infinite weights in conv_cat.bias"),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoints(
    kind: str, invoke: Invoke, network_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, make, message = CHECKPOINTS[kind]
    make(tmp_path / name, network_file)
    out = tmp_path / "out.tflite"
    for command in (["inspect", name], ["convert", name, "--format", "tflite", "-o", out], ["run", name]):
        assert message in refused(invoke(*command))
    assert {entry.name for entry in tmp_path.iterdir()} <= {name}


def test_a_converted_file_under_a_checkpoints_name(invoke: Invoke, tflite_file: Path, tmp_path: Path) -> None:
    shutil.copy(tflite_file, tmp_path / "a.pth")
    assert "is neither a PyTorch checkpoint" in refused(invoke("inspect", tmp_path / "a.pth"))


def test_a_checkpoint_under_a_converted_files_name(
    invoke: Invoke, network_file: Path, tmp_path: Path
) -> None:
    shutil.copy(network_file, tmp_path / "a.tflite")
    assert "is not a TFLite file" in refused(invoke("inspect", tmp_path / "a.tflite"))


def save_truncated(path: Path) -> None:
    Image.fromarray(NOISE).save(path)
    os.truncate(path, path.stat().st_size // 2)


IMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "16 bits": (
        "a.png",
        lambda path: Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 257).save(path),
        "has 16 bits or more per channel; convert it to 8 bits",
    ),
    "CMYK": (
        "a.jpg",
        lambda path: Image.fromarray(NOISE).convert("CMYK").save(path),
        "holds printing inks (CMYK), whose colours depend on a profile; convert it to RGB",
    ),
    "truncated": ("a.png", save_truncated, "it is damaged, truncated or not PNG"),
    "empty": ("a.png", lambda path: path.touch(), "cannot be read: it is empty, damaged or not PNG"),
    "text": (
        "a.jpg",
        lambda path: path.write_text("hello"),
        "cannot be read: it is empty, damaged or not PNG",
    ),
    "absent": ("a.png", lambda path: None, "a.png"),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images(kind: str, invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    name, make, message = IMAGES[kind]
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / name
    make(path)
    for command in (
        ["upscale", path, "--model", network_file, "-o", tmp_path / "big"],
        ["eval", network_file],
    ):
        said = refused(invoke(*command, *(("--data", path) if command[0] == "eval" else ())))
        assert message in said and str(path) in said
    assert {entry.name for entry in tmp_path.iterdir()} == {"data"}


def test_transparent_images_are_refused_where_they_would_be_judged(
    invoke: Invoke, network_file: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.dstack([NOISE, NOISE[:, :, 0]])).save(tmp_path / "a.png")
    said = refused(invoke("eval", network_file, "--data", tmp_path))
    assert "a.png has transparent pixels, whose colour is not defined; flatten it" in said


def test_one_pixel(invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    """It is upscaled, and too small to be judged."""
    Image.fromarray(NOISE[:1, :1]).save(tmp_path / "a.png")
    said = refused(invoke("eval", network_file, "--data", tmp_path))
    assert (
        "a.png: an image of 1x1 pixels (HxW) is too small for a scale of 2; give one with at least 2" in said
    )
    assert (
        invoke("upscale", tmp_path / "a.png", "--model", network_file, "-o", tmp_path / "big").exit_code == 0
    )
    assert Image.open(tmp_path / "big" / "a.png").size == (2, 2)


@pytest.mark.parametrize("entries", [[], ["notes.txt", "sub/a.png"]])
def test_folders_without_images(
    entries: list[str], invoke: Invoke, network_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for entry in entries:
        (tmp_path / "data" / entry).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / entry).touch()
    (tmp_path / "data").mkdir(exist_ok=True)
    for command in ("eval", "run"):
        said = refused(invoke(command, network_file, "--data", "data"))
        assert f"data holds no image among its {len(entries)} entries; give a folder with PNG" in said
    assert {entry.name for entry in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize("size", ["0x0", "7", "-3x4", "1x", "axb", "16x16x16", "100000x100000"])
@pytest.mark.parametrize("command", ["convert", "run", "bench"])
def test_sizes(size: str, command: str, invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    options = {
        "convert": ["--format", "tflite", "-o", tmp_path / "a.tflite"],
        "run": ["--out", tmp_path / "out"],
    }
    said = refused(invoke(command, network_file, "--size", size, *options.get(command, [])))
    assert f"'{size}' is not a size; give height x width" in said
    assert said.endswith(f"{command} --help")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["convert", "run", "bench"])
def test_sizes_beyond_any_memory(command: str, invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    options = ["--format", "tflite", "-o", tmp_path / "a.tflite"] if command == "convert" else []
    said = refused(invoke(command, network_file, "--size", "99999x99999", *options))
    assert "'99999x99999' has more than 16,777,216 pixels" in said


@pytest.mark.parametrize(
    ("side", "message"), [(5, "too few to judge at a scale of 2"), (0, "cannot be read")]
)
def test_run_refuses_images_before_any_work(
    side: int, message: str, invoke: Invoke, network_file: Path, images: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(images, data)
    (data / "zebra.png").touch()
    if side:
        Image.fromarray(NOISE[:side, :side]).save(data / "zebra.png")
    result = invoke("run", network_file, "--data", data, "--out", out)
    assert result.exit_code == 2 and "convert" not in result.stderr
    assert "zebra.png" in result.stderr and message in result.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"data"}


def test_one_pixel_is_a_size(invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.tflite"
    assert invoke("convert", network_file, "--format", "tflite", "--size", "1x1", "-o", out).exit_code == 0
    assert json.loads(invoke("inspect", out, "--json").stdout)["input"]["shape"] == [1, 1, 1, 3]


def test_upscale_into_a_file_is_refused_before_any_work(
    invoke: Invoke, network_file: Path, images: Path
) -> None:
    image = images / "large.png"
    said = refused(invoke("upscale", image, "--model", network_file, "-o", image))
    assert "large.png is a file; choose another folder" in said


def test_a_folder_is_never_replaced_by_a_file(invoke: Invoke, network_file: Path, images: Path) -> None:
    for command in (
        ["eval", network_file, "--data", images, "--json", images],
        ["bench", network_file, "--json", images],
        ["report", images, "-o", images],
    ):
        assert "is a folder, which a file would replace" in refused(invoke(*command, "--overwrite"))
    assert len(list(images.iterdir())) == 2


def test_json_where_it_cannot_be_written_is_refused_before_any_work(
    invoke: Invoke, network_file: Path, images: Path
) -> None:
    target = images / "large.png" / "eval.json"
    for command in (["eval", network_file, "--data", images], ["bench", network_file]):
        assert "large.png is a file; choose another folder" in refused(invoke(*command, "--json", target))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            MemoryError("Unable to allocate 224. GiB"),
            "not enough memory (Unable to allocate 224. GiB); give a",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "perhaps that of TMPDIR, is full; make room on it",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "there/x"), "the disk of there/x is full"),
    ],
)
def test_what_the_computer_lacks_is_no_bug(
    error: Exception, message: str, invoke: Invoke, network_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "open_dataset", lacking)
    assert message in refused(invoke("eval", network_file))


def test_other_errors_of_the_system_keep_their_traceback(
    invoke: Invoke, network_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(datasets, "open_dataset", broken)
    assert isinstance(invoke("eval", network_file).exception, OSError)


def test_no_command_shows_the_help() -> None:
    result = click.testing.CliRunner().invoke(span_edge, [])
    assert "Exit codes:" in result.output and result.exit_code == 2
