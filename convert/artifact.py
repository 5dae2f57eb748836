"""A converted file and what it says of itself."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from models.config import SpanConfig
from models.errors import InputError
from models.files import refuse_existing, sha256_of, size_of, written_whole

FormatName = Literal["tflite", "coreml"]
METADATA_KEY = "span_edge"
"""Name of our entry in a TFLite file's metadata and in a Core ML package's user-defined metadata."""
INPUT_NAME = "image"
OUTPUT_NAME = "upscaled"

TOOLS = (
    "span-edge",
    "torch",
    "torchao",
    "litert-torch",
    "ai-edge-litert",
    "coremltools",
    "tensorflow",
    "numpy",
)


def tool_versions() -> dict[str, str]:
    """The installed versions of the tools that shape a converted file; those not installed are left out."""
    versions = {}
    for name in TOOLS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoint a file was made from: name, SHA-256, and the quantization method if there was one."""

    name: str
    sha256: str
    method: Literal["ptq", "qat"] | None = None


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a converted file.

    Attributes:
        name: the name an app uses.
        layout: `NHWC` or `NCHW` for tensors, `image` for Core ML images.
        dtype: `float32`, `float16` or `uint8`.
        shape: sizes with None for a flexible axis, in `layout` order; (H, W) for an image.
        pixel_scale: a stored value times this is intensity in [0, 1] (1 for float tensors, 1/255 for uint8
            and images).
    """

    name: str
    layout: Literal["NHWC", "NCHW", "image"]
    dtype: Literal["float32", "float16", "uint8"]
    shape: tuple[int | None, ...]
    pixel_scale: float


@dataclass(frozen=True, kw_only=True)
class ArtifactInfo:
    """What a converted file carries inside, and its sidecar JSON beside it."""

    format: FormatName
    recipe: str
    backend: str
    config: SpanConfig
    source: Source
    input: TensorSpec
    output: TensorSpec
    versions: Mapping[str, str]
    schema: int = 1

    def to_json(self) -> dict[str, Any]:
        """JSON-ready data; `from_json` takes it back."""
        return {**asdict(self), "config": self.config.to_json(), "versions": dict(self.versions)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ArtifactInfo":
        """The info that `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: the data is not of this schema.
        """
        if data["schema"] != 1:
            raise ValueError(f"artifact schema {data['schema']} is not 1")
        return cls(
            **{
                **data,
                "config": SpanConfig.from_json(data["config"]),
                "source": Source(**data["source"]),
                "input": _tensor_spec(data["input"]),
                "output": _tensor_spec(data["output"]),
            }
        )


def _tensor_spec(data: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(**{**data, "shape": tuple(data["shape"])})


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A converted file on disk. `path` is a `.tflite` file or an `.mlpackage` folder."""

    path: Path
    sha256: str
    size_bytes: int
    info: ArtifactInfo

    @classmethod
    def at(cls, path: Path, info: ArtifactInfo) -> "Artifact":
        """The artifact at `path`, hashed and measured now."""
        return cls(path=path, sha256=sha256_of(path), size_bytes=size_of(path), info=info)


def sidecar_path(path: Path) -> Path:
    """Where the sidecar JSON of the artifact at `path` stands: `x.tflite` -> `x.tflite.json`."""
    return path.with_name(path.name + ".json")


def info_text(info: ArtifactInfo) -> str:
    """The text that a converted file carries inside, under `METADATA_KEY`; `info_from_text` takes it back."""
    return json.dumps(info.to_json(), sort_keys=True)


def info_from_text(text: str, path: Path) -> ArtifactInfo:
    """The info that `info_text` gave.

    Raises:
        InputError: the text is of another schema; `path` names the file it was found in.
    """
    try:
        return ArtifactInfo.from_json(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: its {METADATA_KEY} metadata is not of this version's schema ({error}); convert it again"
        ) from error


def sidecar_text(artifact: Artifact) -> str:
    """The sidecar's text: file name, SHA-256, size and everything of `ArtifactInfo`."""
    return json.dumps(
        {
            "file": artifact.path.name,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
            **artifact.info.to_json(),
        },
        indent=2,
    )


def refuse_other_sidecar(artifact: Artifact) -> None:
    """Refuse an artifact whose sidecar says something else than the file itself; it may have none.

    The file's name does not count, so that both can be renamed, and neither do entries of others.

    Raises:
        InputError: naming the entries that differ, or the sidecar cannot be read.
    """
    path = sidecar_path(artifact.path)
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); remove it or convert again") from error
    told = json.loads(sidecar_text(artifact))
    held = said if isinstance(said, dict) else {}
    different = [name for name, value in told.items() if name != "file" and held.get(name) != value]
    if different:
        raise InputError(
            f"{path} does not describe {artifact.path.name}: it has another {', '.join(different)}, so one "
            "of the two was edited or replaced; convert again, or remove the JSON file"
        )


def refuse_taken(path: Path, *, overwrite: bool) -> None:
    """Refuse to write over an artifact or its sidecar, before any work is done.

    Raises:
        InputError: one of them exists and `overwrite` is false.
    """
    refuse_existing(path, overwrite=overwrite, folder=path.suffix == ".mlpackage")
    refuse_existing(sidecar_path(path), overwrite=overwrite)


def write_artifact(
    path: Path, info: ArtifactInfo, write: Callable[[Path], object], *, overwrite: bool = False
) -> Artifact:
    """The artifact, written with its sidecar JSON: both appear, or neither.

    Args:
        path: the file or folder to make.
        info: what the file says of itself; `write` puts it inside.
        write: makes the file or folder at the path that it is given.
        overwrite: replace an existing artifact and sidecar.

    Raises:
        InputError: one of them exists and `overwrite` is false, or cannot be written. Whatever stood there
            before is left as it was if the artifact cannot be made or moved into place.
    """
    refuse_taken(path, overwrite=overwrite)
    placed = False
    try:
        with written_whole(sidecar_path(path), overwrite=overwrite) as sidecar:
            with written_whole(path, overwrite=overwrite) as scratch:
                write(scratch)
                artifact = replace(Artifact.at(scratch, info), path=path)
                sidecar.write_text(sidecar_text(artifact) + "\n")
            placed = True
    except BaseException:
        if placed:
            _remove(path)
        raise
    return artifact


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
