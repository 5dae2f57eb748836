import json
import os
from pathlib import Path

import pytest
from tflite_support import SOURCE

from convert import artifact as module
from convert.artifact import (
    Artifact,
    ArtifactInfo,
    TensorSpec,
    info_from_text,
    info_text,
    sidecar_path,
    tool_versions,
    write_artifact,
)
from models import InputError, SpanConfig


def tensor(name: str, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, layout="NHWC", dtype="float32", shape=shape, pixel_scale=1.0)


INFO = ArtifactInfo(
    format="tflite",
    recipe="fp32",
    backend="litert",
    config=SpanConfig(),
    source=SOURCE,
    input=tensor("image", (1, 8, 9, 3)),
    output=tensor("upscaled", (1, 32, 36, 3)),
    versions=tool_versions(),
)


def test_info_survives_json():
    assert ArtifactInfo.from_json(json.loads(json.dumps(INFO.to_json()))) == INFO
    assert info_from_text(info_text(INFO), Path("x.tflite")) == INFO


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"recipe": None, "unknown": 1},
        {"config": {}},
        {"source": "x"},
        {"input": {"name": "x"}},
    ],
    ids=lambda change: "-".join(change),
)
def test_another_schema_is_refused(change):
    text = json.dumps({**INFO.to_json(), **change})
    with pytest.raises(
        InputError, match=r"x\.tflite: its span_edge metadata is not of this version's schema"
    ):
        info_from_text(text, Path("x.tflite"))


def test_file_and_sidecar_appear_together(tmp_path):
    artifact = write_artifact(tmp_path / "x.tflite", INFO, lambda path: path.write_bytes(b"data"))
    assert artifact == Artifact.at(tmp_path / "x.tflite", INFO)
    sidecar = json.loads(sidecar_path(artifact.path).read_text())
    assert sidecar["file"] == "x.tflite"
    assert (sidecar["sha256"], sidecar["size_bytes"]) == (artifact.sha256, 4)
    assert sidecar["source"] == {"name": "random", "sha256": "0" * 64, "method": None}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tflite", "x.tflite.json"]


def test_neither_appears_when_the_converter_fails(tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write_artifact(tmp_path / "x.tflite", INFO, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_earlier_artifact(tmp_path):
    write_artifact(tmp_path / "x.tflite", INFO, lambda path: path.write_bytes(b"data"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ZeroDivisionError):
        write_artifact(tmp_path / "x.tflite", INFO, lambda path: 1 / 0, overwrite=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_neither_appears_when_the_sidecar_cannot_be_placed(tmp_path, monkeypatch):
    replace = os.replace

    def only_the_file(source, target):
        if str(target).endswith(".json"):
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", only_the_file)
    with pytest.raises(InputError, match="No space left"):
        write_artifact(tmp_path / "x.tflite", INFO, lambda path: path.write_bytes(b"data"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["x.tflite", "x.tflite.json"])
def test_neither_the_file_nor_the_sidecar_is_replaced_unasked(tmp_path, taken):
    (tmp_path / taken).write_text("mine")
    with pytest.raises(InputError, match=rf"{taken} exists already; give --overwrite"):
        write_artifact(tmp_path / "x.tflite", INFO, lambda path: path.write_bytes(b"data"))
    assert [p.name for p in tmp_path.iterdir()] == [taken]
    write_artifact(tmp_path / "x.tflite", INFO, lambda path: path.write_bytes(b"data"), overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_versions_name_only_installed_tools(monkeypatch):
    monkeypatch.setattr(module, "TOOLS", ("torch", "no-such-tool"))
    assert list(module.tool_versions()) == ["torch"]
