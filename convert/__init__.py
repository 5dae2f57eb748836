"""Converters from the folded or quantized network to TFLite and Core ML files.

Names are imported when they are first used: converters bring heavy libraries, `span-edge --help` needs none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifact import (
        METADATA_KEY,
        Artifact,
        ArtifactInfo,
        FormatName,
        Source,
        TensorSpec,
        sidecar_path,
        tool_versions,
    )
    from .coreml import to_coreml
    from .coreml_sizes import Sizes
    from .formats import FORMATS, Format, format_of, read_artifact
    from .tensorflow import to_saved_model
    from .tflite import to_tflite
    from .tflite_delegate import Delegation, xnnpack_delegation
    from .tflite_file import tflite_dtypes, tflite_ops

__all__ = [
    "FORMATS",
    "METADATA_KEY",
    "Artifact",
    "ArtifactInfo",
    "Delegation",
    "Format",
    "FormatName",
    "Sizes",
    "Source",
    "TensorSpec",
    "format_of",
    "read_artifact",
    "sidecar_path",
    "tflite_dtypes",
    "tflite_ops",
    "to_coreml",
    "to_saved_model",
    "to_tflite",
    "tool_versions",
    "xnnpack_delegation",
]

_HOME = {
    "FORMATS": "formats",
    "METADATA_KEY": "artifact",
    "Artifact": "artifact",
    "ArtifactInfo": "artifact",
    "Delegation": "tflite_delegate",
    "Format": "formats",
    "FormatName": "artifact",
    "Sizes": "coreml_sizes",
    "Source": "artifact",
    "TensorSpec": "artifact",
    "format_of": "formats",
    "read_artifact": "formats",
    "sidecar_path": "artifact",
    "tflite_dtypes": "tflite_file",
    "tflite_ops": "tflite_file",
    "to_coreml": "coreml",
    "to_saved_model": "tensorflow",
    "to_tflite": "tflite",
    "tool_versions": "artifact",
    "xnnpack_delegation": "tflite_delegate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
