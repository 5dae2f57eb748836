"""The straight fp32 TFLite file, as ai-edge-quantizer quantizes it."""

import io
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from convert.artifact import INPUT_NAME, Source
from convert.quiet import quiet

from ..runner import Frame, to_image

if TYPE_CHECKING:
    from models.deploy import SpanDeploy

SIGNATURE = "serving_default"


def quantize_tflite(network: "SpanDeploy", tiles: Sequence[Frame], source: Source, out: Path) -> Path:
    """Write ai-edge-quantizer's static W8A8 form of the network: its recipe `static_wi8_ai8`.

    The file takes and gives float32, as that recipe leaves it.
    """
    from ai_edge_quantizer import quantizer, recipe

    from convert.tflite import to_tflite

    height, width = tiles[0].shape[:2]
    with tempfile.TemporaryDirectory() as scratch, quiet(), redirect_stdout(io.StringIO()):
        straight = Path(scratch) / "straight.tflite"
        to_tflite(network, recipe="fp32", size=(height, width), source=source, out=straight)
        tool = quantizer.Quantizer(str(straight))
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        ranges = tool.calibrate({SIGNATURE: [{INPUT_NAME: to_image(tile)[None]} for tile in tiles]})
        tool.quantize(ranges).export_model(str(out), overwrite=True)
    return out
