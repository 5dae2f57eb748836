"""The float network as ONNX, and as ONNX Runtime quantizes it."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from convert.artifact import INPUT_NAME, OUTPUT_NAME
from convert.quiet import quiet

from ..runner import Frame, to_image
from ..runtimes.planar import planes

if TYPE_CHECKING:
    from models.deploy import SpanDeploy

OPSET = 17
TRACED_HW = (24, 32)


def export_onnx(network: "SpanDeploy", out: Path) -> Path:
    """Write the network as ONNX: (1, C, H, W) in [0, 1] of any height and width, float32."""
    if out.exists():
        return out
    example = torch.zeros(1, network.config.in_channels, *TRACED_HW)
    axes = {INPUT_NAME: {2: "height", 3: "width"}, OUTPUT_NAME: {2: "upscaled_height", 3: "upscaled_width"}}
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(out),
            dynamo=False,  # its successor needs onnxscript, and gives the same operations
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_axes=axes,
        )
    return out


def quantize_onnx(source: Path, tiles: Sequence[Frame], out: Path) -> Path:
    """Write ONNX Runtime's static INT8 form of a float ONNX file.

    The settings are those of ONNX Runtime's page on quantization: shape inference and graph optimization
    first (`quant_pre_process`), then `quantize_static` with QDQ nodes, int8 weights and activations, one
    scale per output channel, ranges by MinMax.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = out.with_suffix(".prepared.onnx")
    with quiet():
        quant_pre_process(str(source), str(prepared))
        quantize_static(
            str(prepared),
            str(out),
            _reader(tiles),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
    prepared.unlink()
    return out


def _reader(tiles: Sequence[Frame]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """The tiles, one at a time."""

        def __init__(self) -> None:
            self._left: Iterator[Frame] = iter(tiles)

        def get_next(self) -> dict[str, Any] | None:
            tile = next(self._left, None)
            return None if tile is None else {INPUT_NAME: planes(to_image(tile))}

    return Reader()
