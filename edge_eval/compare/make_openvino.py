"""The float network as an OpenVINO graph, and as NNCF quantizes it."""

import io
import logging
import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

from convert.quiet import quiet

from ..runner import Frame, to_image
from ..runtimes.planar import planes


def convert_openvino(source: Path, out: Path) -> Path:
    """Write an ONNX file as an OpenVINO graph with float32 weights."""
    import openvino

    if not out.exists():
        openvino.save_model(openvino.Core().read_model(str(source)), str(out), compress_to_fp16=False)
    return out


def quantize_openvino(source: Path, tiles: Sequence[Frame], out: Path) -> Path:
    """Write NNCF's static INT8 form of a float ONNX file as an OpenVINO graph: `nncf.quantize`, defaults."""
    os.environ.setdefault("NNCF_CI", "1")  # else it tells its makers that it was used
    with quiet(), redirect_stdout(io.StringIO()):
        import nncf
        import openvino

        logging.getLogger("nncf").setLevel(logging.ERROR)
        model = openvino.Core().read_model(str(source))
        dataset = nncf.Dataset([planes(to_image(tile)) for tile in tiles])
        quantized = nncf.quantize(model, dataset, subset_size=len(tiles))
        openvino.save_model(quantized, str(out), compress_to_fp16=False)
    return out
