import json
import struct
from pathlib import Path

import numpy as np
import pytest

from convert import FORMATS, format_of, read_artifact
from convert import tflite_graph as rewrites
from convert.artifact import METADATA_KEY, sidecar_path
from convert.tflite_graph import Graph
from models import InputError
from quantize.recipe import RECIPES


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_every_format_can_be_used(row):
    assert row.name in FORMATS and row.suffix.startswith(".")
    assert callable(row.load_converter())
    assert "fp32" in row.recipes and "fp16" in row.recipes
    assert set(row.recipes) <= set(RECIPES)
    assert format_of(Path("a/b" + row.suffix)) is row


def test_every_recipe_has_a_format():
    assert {name for row in FORMATS.values() for name in row.recipes} == set(RECIPES)


@pytest.mark.parametrize("name", ["x.onnx", "x", "x.TFLITE"])
def test_another_suffix_is_refused(name):
    with pytest.raises(InputError, match=r"is no format of ours; a name ends in \.tflite or \.mlpackage"):
        read_artifact(Path(name))


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_a_missing_file_is_refused(row, tmp_path):
    with pytest.raises(InputError, match=f"missing{row.suffix}: no such"):
        read_artifact(tmp_path / f"missing{row.suffix}")


def test_a_converted_file_reads_back_without_its_sidecar(converted, tmp_path):
    _, artifact = converted()
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artifact.path.read_bytes())
    again = read_artifact(copy)
    assert (again.info, again.sha256, again.size_bytes) == (
        artifact.info,
        artifact.sha256,
        artifact.size_bytes,
    )


def test_both_may_be_renamed_and_annotated(converted, tmp_path):
    _, artifact = converted()
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artifact.path.read_bytes())
    said = json.loads(sidecar_path(artifact.path).read_text())
    sidecar_path(copy).write_text(json.dumps({**said, "reviewed_by": "somebody"}))
    assert read_artifact(copy).info == artifact.info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda said: {**said, "recipe": "fp16"},
            r"does not describe copy\.tflite: it has another recipe, so one of the",
        ),
        (
            lambda said: {**said, "sha256": "0" * 64},
            r"it has another sha256, .*; convert again, or remove the JSON file",
        ),
        (lambda said: {k: v for k, v in said.items() if k != "config"}, r"it has another config, so"),
        (lambda said: [said], r"sha256, size_bytes, format, recipe, backend, config"),
    ],
)
def test_a_sidecar_that_was_edited_is_noticed(converted, tmp_path, change, message):
    _, artifact = converted()
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artifact.path.read_bytes())
    said = json.loads(sidecar_path(artifact.path).read_text())
    sidecar_path(copy).write_text(json.dumps(change(said)))
    with pytest.raises(InputError, match=message):
        read_artifact(copy)


def test_a_damaged_sidecar_is_noticed(converted, tmp_path):
    _, artifact = converted()
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(artifact.path.read_bytes())
    sidecar_path(copy).write_text("{")
    with pytest.raises(
        InputError, match=r"copy\.tflite\.json cannot be read \(.*; remove it or convert again"
    ):
        read_artifact(copy)


@pytest.mark.parametrize("content", [b"", b"TFL3", b"PK\x03\x04 not a model at all", b"\x00" * 64])
def test_what_is_no_tflite_file_is_refused(content, tmp_path):
    path = tmp_path / "x.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.tflite is not a TFLite file"):
        read_artifact(path)


@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(converted, tmp_path, kept):
    data = converted()[1].path.read_bytes()
    path = tmp_path / "x.tflite"
    path.write_bytes(data[: max(8, int(kept * len(data)))])
    with pytest.raises(InputError, match=r"x\.tflite is damaged or cut short"):
        read_artifact(path)


def test_garbage_with_the_right_mark_is_refused(tmp_path):
    path = tmp_path / "x.tflite"
    noise = np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    for root in (8, 100, 399, 2**31):
        path.write_bytes(struct.pack("<I", root) + b"TFL3" + noise)
        with pytest.raises(InputError):
            read_artifact(path)


def test_a_file_for_a_newer_runtime_is_refused(converted, tmp_path):
    graph = Graph.read(converted()[1].path.read_bytes())
    graph.model.operatorCodes[0].version = 99
    path = tmp_path / "x.tflite"
    path.write_bytes(graph.serialize())
    with pytest.raises(InputError, match=r"does not run on the installed ai-edge-litert: .* version '99'"):
        read_artifact(path)


def test_a_file_of_another_tool_is_refused(converted, tmp_path):
    graph = Graph.read(converted()[1].path.read_bytes())
    graph.model.metadata = []
    path = tmp_path / "x.tflite"
    path.write_bytes(graph.serialize())
    with pytest.raises(InputError, match=r"x\.tflite was not made by span-edge \(no span_edge metadata\)"):
        read_artifact(path)


@pytest.mark.parametrize("text", [json.dumps({"schema": 2}), "{", "[]", "null"])
def test_another_schema_inside_is_refused(converted, tmp_path, text):
    graph = Graph.read(converted()[1].path.read_bytes())
    rewrites.attach(graph, key=METADATA_KEY, text=text)
    path = tmp_path / "x.tflite"
    path.write_bytes(graph.serialize())
    with pytest.raises(InputError, match="is not of this version's schema"):
        read_artifact(path)


def test_a_folder_that_is_no_package_is_refused(tmp_path):
    folder = tmp_path / "x.mlpackage"
    folder.mkdir()
    with pytest.raises(InputError, match=r"x\.mlpackage is not a Core ML package"):
        read_artifact(folder)


def test_a_file_that_is_called_a_package_is_refused(tmp_path):
    (tmp_path / "x.mlpackage").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"x\.mlpackage: a file, not a package; give an \.mlpackage folder"):
        read_artifact(tmp_path / "x.mlpackage")


def test_a_damaged_package_is_refused(tmp_path):
    data = tmp_path / "x.mlpackage" / "Data" / "com.apple.CoreML"
    data.mkdir(parents=True)
    (tmp_path / "x.mlpackage" / "Manifest.json").write_text("{}")
    (data / "model.mlmodel").write_bytes(b"\xff\xff\xff")
    with pytest.raises(InputError, match="damaged or cut short"):
        read_artifact(tmp_path / "x.mlpackage")
