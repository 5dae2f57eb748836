"""Every tool that a network can be compared with, in one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from convert.artifact import Source
from models.cost import count_macs
from models.errors import InputError
from models.progress import Progress, silent

from ..runner import Frame
from ..timed_file import TimedFile

if TYPE_CHECKING:
    from models.deploy import SpanDeploy

    from ..datasets import Dataset

EXTRA = "compare"
"""The optional dependencies that hold every package of the table."""


@dataclass(frozen=True, kw_only=True)
class Material:
    """What files to compare with are made from.

    Attributes:
        network: the folded float network; left unchanged.
        source: the checkpoint it came from.
        checkpoint: its file.
        tiles: calibration crops, all of one size, (H, W, C) uint8, low resolution.
        folder: where files go.
    """

    network: "SpanDeploy"
    source: Source
    checkpoint: Path
    tiles: tuple[Frame, ...]
    folder: Path

    def path(self, rival: str, suffix: str) -> Path:
        """Where the file of a rival goes."""
        return self.folder / f"{self.source.name}_{rival}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One tool, and how it is used.

    Attributes:
        what: a few words for people, with the settings.
        runtime: row of `RUNTIMES` that runs its file.
        precision: what its convolutions compute in.
        requires: packages to import; all of them are in the extra `EXTRA`, or always there.
        make: writes the file.
    """

    what: str
    runtime: str
    precision: str
    requires: tuple[str, ...]
    make: Callable[[Material], Path]

    def why_missing(self) -> str | None:
        """Which packages are not installed, and what to do; None where all are."""
        missing = [name for name in self.requires if find_spec(name) is None]
        return (
            f"{', '.join(missing)} not installed; install span-edge[{EXTRA}], or leave it out"
            if missing
            else None
        )


def _torch(material: Material) -> Path:
    """The checkpoint, or one that says how it normalizes where that is not what checkpoints imply."""
    from models import load_checkpoint, save_checkpoint

    if load_checkpoint(material.checkpoint).config == material.network.config:
        return material.checkpoint
    path = material.path("float", ".safetensors")
    save_checkpoint(material.network, path)
    return path


def _onnx(material: Material) -> Path:
    from .make_onnx import export_onnx

    return export_onnx(material.network, material.path("float", ".onnx"))


def _onnx_int8(material: Material) -> Path:
    from .make_onnx import quantize_onnx

    return quantize_onnx(_onnx(material), material.tiles, material.path("ort_int8", ".onnx"))


def _openvino(material: Material) -> Path:
    from .make_openvino import convert_openvino

    return convert_openvino(_onnx(material), material.path("float", ".xml"))


def _openvino_int8(material: Material) -> Path:
    from .make_openvino import quantize_openvino

    return quantize_openvino(_onnx(material), material.tiles, material.path("nncf_int8", ".xml"))


def _ai_edge_quantizer(material: Material) -> Path:
    from .make_tflite import quantize_tflite

    out = material.path("ai-edge-quantizer", ".tflite")
    return quantize_tflite(material.network, material.tiles, material.source, out)


RIVALS: Mapping[str, Rival] = {
    "torch": Rival(
        what="PyTorch, eager mode, float32", runtime="torch", precision="fp32", requires=(), make=_torch
    ),
    "onnxruntime": Rival(
        what="ONNX Runtime, float32",
        runtime="onnxruntime",
        precision="fp32",
        requires=("onnx", "onnxruntime"),
        make=_onnx,
    ),
    "onnxruntime-int8": Rival(
        what="ONNX Runtime, quantize_static after quant_pre_process: QDQ, int8, per channel, MinMax",
        runtime="onnxruntime",
        precision="int8",
        requires=("onnx", "onnxruntime"),
        make=_onnx_int8,
    ),
    "openvino": Rival(
        what="OpenVINO, float32",
        runtime="openvino",
        precision="fp32",
        requires=("onnx", "openvino"),
        make=_openvino,
    ),
    "openvino-bf16": Rival(
        what="OpenVINO as it comes: bfloat16 where the CPU has it",
        runtime="openvino-bf16",
        precision="bf16",
        requires=("onnx", "openvino"),
        make=_openvino,
    ),
    "openvino-int8": Rival(
        what="OpenVINO, nncf.quantize with its defaults",
        runtime="openvino",
        precision="int8",
        requires=("onnx", "openvino", "nncf"),
        make=_openvino_int8,
    ),
    "ai-edge-quantizer": Rival(
        what="ai-edge-quantizer's static_wi8_ai8 of our straight fp32 file, on LiteRT with XNNPACK",
        runtime="tflite",
        precision="int8",
        requires=("ai_edge_quantizer",),
        make=_ai_edge_quantizer,
    ),
}


def prepare(
    names: Sequence[str], material: Material, *, progress: Progress = silent
) -> tuple[TimedFile, ...]:
    """The files of these rows of `RIVALS`, made now; what is not installed comes with the reason.

    Raises:
        InputError: a name is no row.
    """
    unknown = [name for name in names if name not in RIVALS]
    if unknown:
        raise InputError(f"{', '.join(unknown)} is nothing to compare with; there are {', '.join(RIVALS)}")
    macs = count_macs(material.network)
    files = []
    for done, name in enumerate(names):
        rival = RIVALS[name]
        progress("prepare comparisons", done, len(names), name)
        reason = rival.why_missing()
        path = material.path(name, "") if reason else rival.make(material)
        files.append(
            TimedFile(
                path=path,
                runtime=rival.runtime,
                source_sha256=material.source.sha256,
                macs_per_pixel={rival.precision: macs},
                compared=name,
                reason=reason,
            )
        )
    progress("prepare comparisons", len(names), len(names))
    return tuple(files)


def calibration_tiles(dataset: "Dataset", *, most: int = 400) -> tuple[Frame, ...]:
    """The low resolution of a dataset as crops of one size, which together cover it.

    Args:
        dataset: photographs.
        most: crops at most; larger sets are thinned out evenly.

    Returns:
        Crops as high and as wide as the smallest image allows; those at an image's end overlap their
        neighbours.
    """
    frames = [sample.lr for sample in dataset]
    height, width = (min(frame.shape[axis] for frame in frames) for axis in (0, 1))
    tiles = [
        frame[top : top + height, left : left + width]
        for frame in frames
        for top in _starts(frame.shape[0], height)
        for left in _starts(frame.shape[1], width)
    ]
    step = -(-len(tiles) // most)
    return tuple(tiles[::step])


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin that cover a length, the last flush with its end."""
    return sorted({min(start, length - tile) for start in range(0, length, tile)})
