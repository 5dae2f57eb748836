"""Reading packages: what is read, and every refusal with its message."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mil_networks import constant_program, small_network

from edge_eval.mil import Machine, load_program
from models.errors import InputError


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as float16 package."""
    return small_network(tmp_path_factory.mktemp("original") / "net.mlpackage")


@pytest.fixture
def package(original: Path, tmp_path: Path) -> Path:
    """A copy of it to break."""
    return Path(shutil.copytree(original, tmp_path / "net.mlpackage"))


def model_file(package: Path) -> Path:
    return package / "Data" / "com.apple.CoreML" / "model.mlmodel"


def weight_file(package: Path) -> Path:
    return model_file(package).parent / "weights" / "weight.bin"


def edit(package: Path, change: Callable[..., None]) -> None:
    """Change the specification in place."""
    from coremltools.proto import Model_pb2

    spec = Model_pb2.Model()
    spec.ParseFromString(model_file(package).read_bytes())
    change(spec)
    model_file(package).write_bytes(spec.SerializeToString())


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(InputError) as caught:
        load_program(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_program_says_what_it_is(original):
    program = load_program(str(original))
    assert program.opset == "CoreML7"
    assert program.function == "main"
    assert [(f.name, f.kind, f.dtype, f.shape) for f in program.inputs] == [
        ("image", "tensor", "float16", (1, 3, 16, 20))
    ]
    assert program.outputs[0].shape == (1, 3, 32, 40)
    counts = program.count_operations()
    assert counts["conv"] == 10
    assert counts["pixel_shuffle"] == 1
    assert "const" not in counts
    assert program.metadata["com.github.apple.coremltools.source"].startswith("torch")


def test_constants_of_every_type_come_back(tmp_path):
    values = {
        "fp32": np.float32([1 / 3, -2]),
        "fp16": np.float16([1 / 3, -2, 65504]),
        "int32": np.int32([-(2**31), 2**31 - 1]),
        "bool": np.array([True, False]),
        "big": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "scalar": np.float32(0.1),
        "int8": np.int8([-128, 127]),
        "uint8": np.arange(250, 256, dtype=np.uint8).repeat(3),
        "int16": np.int16([-32768, 5]),
        "uint16": np.uint16([65535, 5]),
    }
    results = Machine(load_program(constant_program(tmp_path / "c.mlpackage", values))).run(
        {"one": np.ones(3, np.float32)}, keep=True
    )
    for name, value in values.items():
        assert results[f"kept_{name}"].dtype == value.dtype
        np.testing.assert_array_equal(results[f"kept_{name}"], value)


def test_missing_path(tmp_path):
    assert "does not exist; give an .mlpackage" in refusal(tmp_path / "none.mlpackage")


def test_not_a_package(tmp_path):
    file = tmp_path / "model.tflite"
    file.write_bytes(b"TFL3")
    assert "is not an .mlpackage folder" in refusal(file)


def test_file_with_the_name_of_a_package(tmp_path):
    file = tmp_path / "model.mlpackage"
    file.write_bytes(b"")
    assert "is not an .mlpackage folder" in refusal(file)


def test_no_manifest(package):
    (package / "Manifest.json").unlink()
    assert "has no Manifest.json" in refusal(package)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rootModelIdentifier": "a", "itemInfoEntries": {}}'])
def test_manifest_without_model(package, text):
    (package / "Manifest.json").write_text(text)
    assert "Manifest.json names no model" in refusal(package)


def test_manifest_names_a_missing_model(package):
    model_file(package).unlink()
    assert "model.mlmodel that the manifest names is missing" in refusal(package)


def test_manifest_names_a_model_elsewhere(package):
    manifest = json.loads((package / "Manifest.json").read_text())
    manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"] = "../../model.mlmodel"
    (package / "Manifest.json").write_text(json.dumps(manifest))
    assert "outside the package" in refusal(package)


@pytest.mark.parametrize("keep", [3, 500])
def test_model_cut_off(package, keep):
    model_file(package).write_bytes(model_file(package).read_bytes()[:keep])
    assert "model.mlmodel is cut off or damaged" in refusal(package)


def test_empty_model(package):
    model_file(package).write_bytes(b"")
    assert "holds a model of type None; only an ML Program" in refusal(package)


def test_neural_network_and_pipeline(package, tmp_path):
    pipeline = Path(shutil.copytree(package, tmp_path / "pipeline.mlpackage"))
    edit(package, lambda spec: spec.neuralNetwork.SetInParent())
    assert "holds a model of type neuralNetwork; only an ML Program" in refusal(package)
    edit(pipeline, lambda spec: spec.pipeline.SetInParent())
    assert "holds a model of type pipeline; only an ML Program" in refusal(pipeline)


@pytest.mark.parametrize("version", [5, 11])
def test_specification_version(package, version):
    edit(package, lambda spec: setattr(spec, "specificationVersion", version))
    assert f"specification version {version} is not one of 6 to 10" in refusal(package)


def test_unknown_operation_set(package):
    edit(package, lambda spec: setattr(spec.mlProgram.functions["main"], "opset", "CoreML99"))
    assert "operation set 'CoreML99' is not known; known are CoreML5" in refusal(package)


def test_unknown_function(package):
    assert "there is no function 'second'; there are main" in refusal(package, function="second")


def test_state(package):
    def add_state(spec):
        spec.description.state.add().name = "cache"

    edit(package, add_state)
    assert "keeps state between calls" in refusal(package)


def test_input_of_another_kind(package):
    edit(package, lambda spec: spec.description.input[0].type.dictionaryType.SetInParent())
    assert "'image' is of type dictionaryType; only images and multi-arrays" in refusal(package)


def test_no_weight_file(package):
    weight_file(package).unlink()
    assert "weight.bin is missing" in refusal(package)


@pytest.mark.parametrize("keep", [0, 10, 80, 300, -64])
def test_weight_file_cut_off(package, keep):
    weight_file(package).write_bytes(weight_file(package).read_bytes()[:keep])
    message = refusal(package)
    assert "weight.bin is cut off or damaged" in message
    assert "convert the model again" in message


def test_weight_file_outside_the_package(package):
    def point_outside(spec):
        for op in spec.mlProgram.functions["main"].block_specializations["CoreML7"].operations:
            if "val" in op.attributes and op.attributes["val"].HasField("blobFileValue"):
                op.attributes["val"].blobFileValue.fileName = "@model_path/../../../weight.bin"

    edit(package, point_outside)
    assert "lies outside the package" in refusal(package)


def test_weight_of_another_size(package):
    def halve(spec):
        for op in spec.mlProgram.functions["main"].block_specializations["CoreML7"].operations:
            if "val" in op.attributes and op.attributes["val"].HasField("blobFileValue"):
                op.attributes["val"].type.tensorType.dimensions[0].constant.size += 1

    edit(package, halve)
    assert "elements at byte" in refusal(package)


def test_immediate_of_another_size(package):
    def shorten(spec):
        for op in spec.mlProgram.functions["main"].block_specializations["CoreML7"].operations:
            if op.type == "const" and len(op.attributes["val"].immediateValue.tensor.ints.values) == 4:
                del op.attributes["val"].immediateValue.tensor.ints.values[0]

    edit(package, shorten)
    assert "a constant of type int32 (4) holds 3 elements" in refusal(package)


def test_broken_graph(package):
    def reverse(spec):
        block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
        last = block.operations[-1]
        block.operations.insert(0, last)
        del block.operations[-1]
        spec.description.output[0].name = "another"

    edit(package, reverse)
    message = refusal(package)
    assert "before it is made" in message
    assert "output 'another' is described, but not made" in message
