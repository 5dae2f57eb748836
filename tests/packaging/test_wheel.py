"""The built wheel in a clean environment: `tox run -e pkg`."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.pkg

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("models", "quantize", "convert", "edge_eval")


def span_edge(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The installed command, which has to end with `code`."""
    command = [str(Path(sys.executable).with_name("span-edge")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random SPAN x2 as published files hold it."""
    import torch

    from models import Span, SpanConfig

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "small.pth"
    torch.save(
        {"params": Span(SpanConfig(feature_channels=8, concat_channels=8, upscale=2)).state_dict()}, path
    )
    return path


def test_the_packages_are_the_installed_ones() -> None:
    for name in PACKAGES:
        file = Path(__import__(name).__file__ or "").resolve()
        assert file.parent != ROOT / name, f"{name} is the checkout's"


def test_package_data_is_in_the_wheel() -> None:
    files = {str(file) for file in importlib.metadata.files("span-edge") or []}
    assert {f"{name}/py.typed" for name in PACKAGES} <= files
    assert "edge_eval/templates/report.html.j2" in files
    assert not [file for file in files if file.startswith("tests")]
    for name in ("span_x2_ch28", "span_x4_ch28"):
        assert {f"models/bundled/{name}{suffix}" for suffix in (".safetensors", ".json", ".md")} <= files


def test_version_and_help() -> None:
    assert span_edge("--version").stdout.strip().endswith(importlib.metadata.version("span-edge"))
    assert "Exit codes:" in span_edge("--help").stdout


def test_convert_then_upscale(checkpoint: Path, tmp_path: Path) -> None:
    model = tmp_path / "small.tflite"
    span_edge("convert", checkpoint, "--format", "tflite", "--size", "48x48", "-o", model)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (60, 50, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    span_edge("upscale", tmp_path / "photo.png", "--model", model, "-o", tmp_path / "big")
    assert Image.open(tmp_path / "big" / "photo.png").size == (100, 120)


def test_the_first_command_needs_nothing(tmp_path: Path) -> None:
    done = span_edge("run", cwd=tmp_path)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [step["status"] for step in record["artifacts"]] == ["OK"] * 5
    assert record["checkpoint"]["name"] == "span_x4_ch28" and record["data"]["name"] == "skimage-evaluation"
    assert "report: out/report.html" in done.stdout and (tmp_path / "out" / "report.html").is_file()


def test_bad_input_is_one_line() -> None:
    done = span_edge("inspect", "absent.pth", code=2)
    assert len(done.stderr.splitlines()) == 1
