"""The `.mlpackage` folder: manifest, model specification and weight files."""

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.coreml_library import load_coremltools
from models.errors import InputError

from .types import ELEMENT_TYPES, ValueType

MODEL_PATH = "@model_path/"
"""What the specification writes for the folder that it lies in."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """An opened `.mlpackage`: its specification, and its weight files as they are asked for."""

    path: Path
    spec: Any
    model_folder: Path
    _readers: dict[Path, Any] = field(default_factory=dict)

    def read_blob(self, file_name: str, offset: int, value_type: ValueType) -> NDArray[Any]:
        """The array that a specification says lies at `offset` of a weight file.

        Raises:
            InputError: the file is missing or cut off, or what lies there is not of that type.
        """
        relative = PurePosixPath(file_name.removeprefix(MODEL_PATH))
        if relative.is_absolute() or ".." in relative.parts:
            raise InputError(f"{self.path}: the weight file {file_name!r} lies outside the package")
        element = ELEMENT_TYPES.get(value_type.element)
        if element is None or element.read is None or value_type.shape is None:
            raise InputError(f"{self.path}: {relative} cannot hold weights of type {value_type}")
        try:
            flat = getattr(self._reader(self.model_folder / relative), element.read)(offset)
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{self.path}: {relative} is cut off or damaged: no {value_type} at byte {offset} ({error});"
                " convert the model again"
            ) from error
        flat = (
            flat.view(np.float16)
            if value_type.element == "float16"
            else np.asarray(flat, dtype=element.numpy)
        )
        sides = tuple(side or 0 for side in value_type.shape)
        if flat.size != int(np.prod(sides)):
            raise InputError(
                f"{self.path}: {relative} holds {flat.size} elements at byte {offset}, not {value_type}"
            )
        return flat.reshape(sides)

    def _reader(self, path: Path) -> Any:
        from coremltools.libmilstoragepython import _BlobStorageReader

        if path not in self._readers:
            if not path.is_file():
                raise InputError(f"{self.path}: the weight file {path.relative_to(self.path)} is missing")
            self._readers[path] = _BlobStorageReader(str(path))
        return self._readers[path]


def open_package(path: Path) -> Package:
    """The package at `path`, its specification parsed.

    Raises:
        InputError: it is not an `.mlpackage`, lacks a part, or holds something else than an ML Program.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give an .mlpackage folder")
    if path.suffix != ".mlpackage" or not path.is_dir():
        raise InputError(
            f"{path} is not an .mlpackage folder; convert the network to an ML Program (iOS 15 or newer)"
        )
    model = _root_model(path)
    spec = _parse(path, model)
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise InputError(
            f"{path} holds a model of type {kind}; only an ML Program (mlProgram) can be run here"
        )
    return Package(path=path, spec=spec, model_folder=model.parent)


def _root_model(path: Path) -> Path:
    """Where the manifest says that the specification lies."""
    manifest = path / "Manifest.json"
    try:
        data = json.loads(manifest.read_text(encoding="utf-8"))
        relative = PurePosixPath(data["itemInfoEntries"][data["rootModelIdentifier"]]["path"])
    except FileNotFoundError as error:
        raise InputError(
            f"{path} has no Manifest.json, so it is not a whole .mlpackage; copy the whole folder"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: Manifest.json names no model ({error}); copy the whole folder again"
        ) from error
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError(f"{path}: the manifest names a model outside the package: {relative}")
    model = path / "Data" / relative
    if not model.is_file():
        raise InputError(
            f"{path}: the model {relative} that the manifest names is missing; copy the whole folder"
        )
    return model


def _parse(path: Path, model: Path) -> Any:
    load_coremltools()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(model.read_bytes())
    except DecodeError as error:
        raise InputError(f"{path}: {model.name} is cut off or damaged; convert the model again") from error
    return spec
