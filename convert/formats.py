"""The file formats that a network can be converted to, as data, and what a file says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from models.errors import InputError
from quantize.recipe import RECIPES

from .artifact import METADATA_KEY, Artifact, FormatName, info_from_text, refuse_other_sidecar


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of `FORMATS`.

    Attributes:
        name: its name on the command line and in the metadata.
        title: its name for people.
        suffix: what its files' names end in.
        converter: `module:function` that makes such a file of a network; loaded when it is used, for it may
            bring heavy libraries.
        metadata: gives the text under `METADATA_KEY` inside a file, or None where there is none; refuses what
            is no such file.
    """

    name: FormatName
    title: str
    suffix: str
    converter: str
    metadata: Callable[[Path], str | None]

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes that it takes."""
        return tuple(row.name for row in RECIPES.values() if self.name in row.formats)

    def load_converter(self) -> Callable[..., Artifact]:
        """The converter itself; its arguments are the format's own."""
        module, _, function = self.converter.partition(":")
        loaded: Any = getattr(import_module(module), function)
        return loaded  # type: ignore[no-any-return]


def _tflite_metadata(path: Path) -> str | None:
    from .tflite_file import metadata_text

    return metadata_text(path, METADATA_KEY)


def _coreml_metadata(path: Path) -> str | None:
    return coreml_metadata_text(path, METADATA_KEY)


def coreml_metadata_text(path: Path, key: str) -> str | None:
    """The text under `key` in the user-defined metadata of a Core ML package's model.

    Raises:
        InputError: there is no such package, or its model is missing or damaged.
    """
    if not path.is_dir():
        what = "a file, not a package" if path.exists() else "no such package"
        raise InputError(f"{path}: {what}; give an .mlpackage folder made by span-edge convert")
    models = sorted((path / "Data").rglob("*.mlmodel"))
    if not (path / "Manifest.json").is_file() or len(models) != 1:
        raise InputError(
            f"{path} is not a Core ML package (Manifest.json and one .mlmodel under Data); give one that is"
        )
    from .coreml_library import load_coremltools

    load_coremltools()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(models[0].read_bytes())
    except DecodeError as error:
        raise InputError(f"{path} is damaged or cut short; convert it again") from error
    defined = spec.description.metadata.userDefined
    text: str | None = defined.get(key)
    return text


FORMATS: dict[FormatName, Format] = {
    "tflite": Format(
        name="tflite",
        title="TensorFlow Lite",
        suffix=".tflite",
        converter="convert.tflite:to_tflite",
        metadata=_tflite_metadata,
    ),
    "coreml": Format(
        name="coreml",
        title="Core ML ML Program",
        suffix=".mlpackage",
        converter="convert.coreml:to_coreml",
        metadata=_coreml_metadata,
    ),
}
"""Every format. A new one is a converter, a row here and a runner."""


def format_of(path: Path) -> Format:
    """The row of `FORMATS` that a file's name belongs to.

    Raises:
        InputError: no row has its suffix.
    """
    for row in FORMATS.values():
        if path.suffix == row.suffix:
            return row
    known = " or ".join(row.suffix for row in FORMATS.values())
    raise InputError(
        f"{path}: {path.suffix or 'a name without suffix'} is no format of ours; a name ends in {known}"
    )


def read_artifact(path: Path) -> Artifact:
    """A converted file as it describes itself; a sidecar JSON is not needed, but must not say otherwise.

    Raises:
        InputError: the suffix is unknown, the file is missing, of another kind, damaged, made by something
            else than span-edge, or of another schema, or its sidecar does not describe it.
    """
    row = format_of(path)
    text = row.metadata(path)
    if text is None:
        raise InputError(
            f"{path} was not made by span-edge (no {METADATA_KEY} metadata); convert a checkpoint first"
        )
    artifact = Artifact.at(path, info_from_text(text, path))
    refuse_other_sidecar(artifact)
    return artifact
