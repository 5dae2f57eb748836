"""Folded and quantized networks to TFLite files.

A float network is exported by one of `BACKENDS`, then rewritten by `tflite_graph`, in the order in which
`_float_graph` lists the rewrites. A quantized one is written down node by node by `tflite_nodes`.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch

from models.config import SpanConfig
from models.deploy import SpanDeploy
from models.errors import InputError
from models.files import refuse_existing
from models.progress import Progress, silent
from quantize.quantized import QuantizedSpan
from quantize.recipe import recipe_named

from . import tensorflow as tensorflow_backend
from . import tflite_graph
from .artifact import (
    INPUT_NAME,
    METADATA_KEY,
    OUTPUT_NAME,
    Artifact,
    ArtifactInfo,
    Source,
    TensorSpec,
    info_text,
    refuse_taken,
    tool_versions,
    write_artifact,
)
from .quiet import quiet
from .tflite_graph import Graph
from .tflite_nodes import graph_of

Backend = Literal["litert", "tensorflow"]
DEFAULT_BACKEND: Backend = "litert"
"""Both give the same operations and pictures (`tests/convert/test_tensorflow.py`); it needs no extra."""

NODES = "nodes"
"""What a quantized network's file names as its backend: no converter, see `tflite_nodes`."""

FLOAT_RECIPES = ("fp32", "fp16")
TRACED_SIZE = (24, 32)
"""Networks are traced at this size whatever size is asked for: no constant depends on it, and it is quick."""


def to_tflite(
    network: SpanDeploy | QuantizedSpan,
    *,
    recipe: str,
    size: tuple[int, int],
    source: Source,
    out: Path,
    backend: Backend = DEFAULT_BACKEND,
    saved_model: Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """A TFLite file, and its sidecar JSON beside it.

    The file has one signature, `serving_default`: `image`, (1, H, W, C), to `upscaled`, (1, s*H, s*W, C). It
    takes any other size after `resize_input_tensor`. Files of a float network, and of the recipe `w8`, take
    float32 in [0, 1] and give float32, unclipped; all others take and give `uint8` pixels.

    Args:
        network: the folded network, or a quantized one; left unchanged.
        recipe: for a folded network `fp32`, or `fp16` for filters stored in float16 and computed with in
            float32; for a quantized one the recipe that it was quantized by.
        size: (H, W) of the image in pixels.
        source: the checkpoint, for the file's metadata.
        out: the file to write; its name ends in `.tflite`.
        backend: the converter of a folded network; they give the same operations. Quantized networks need
            none.
        saved_model: a folder to write TensorFlow's own form of the network to, float32 whatever the recipe;
            for the backend `tensorflow` only.
        overwrite: replace an existing file, and an existing SavedModel.
        progress: told of the three steps.

    Raises:
        InputError: the recipe, the size, the name or the backend is not one that is accepted, TensorFlow is
            asked for and not installed, a weight does not fit float16, or the file exists or cannot be
            written.
    """
    _require(network, recipe=recipe, size=size, out=out, backend=backend)
    refuse_taken(out, overwrite=overwrite)
    if saved_model is not None:
        _require_tensorflow_backend(saved_model, backend, overwrite=overwrite)
    progress("convert to TFLite", 0, 3, "build the graph")
    if isinstance(network, QuantizedSpan):
        graph, maker, convolutions = graph_of(network, size=size), NODES, len(network.weights)
    else:
        graph, maker = _float_graph(network, recipe, size, backend), str(backend)
        convolutions = len(network.convolutions())
    progress("convert to TFLite", 1, 3, "describe it")
    info = _info(graph, network.config, recipe=recipe, source=source, backend=maker)
    tflite_graph.sign(graph, input_name=INPUT_NAME, output_name=OUTPUT_NAME)
    tflite_graph.attach(graph, key=METADATA_KEY, text=info_text(info))
    tflite_graph.require_clean(graph, convolutions=convolutions, upscale=network.config.upscale)
    data = graph.serialize()
    progress("convert to TFLite", 2, 3, "write")
    if saved_model is not None and not isinstance(network, QuantizedSpan):
        tensorflow_backend.to_saved_model(network, out=saved_model, overwrite=overwrite)
    artifact = write_artifact(out, info, lambda path: path.write_bytes(data), overwrite=overwrite)
    progress("convert to TFLite", 3, 3, out.name)
    return artifact


def _info(graph: Graph, config: SpanConfig, *, recipe: str, source: Source, backend: str) -> ArtifactInfo:
    """What the file says of itself."""
    return ArtifactInfo(
        format="tflite",
        recipe=recipe,
        backend=backend,
        config=config,
        source=source,
        input=_tensor_spec(graph, int(graph.sub.inputs[0]), INPUT_NAME),
        output=_tensor_spec(graph, int(graph.sub.outputs[0]), OUTPUT_NAME),
        versions=tool_versions(),
    )


def _tensor_spec(graph: Graph, index: int, name: str) -> TensorSpec:
    pixels = graph.dtype_of(index) == "uint8"
    return TensorSpec(
        name=name,
        layout="NHWC",
        dtype="uint8" if pixels else "float32",
        shape=tuple(int(n) for n in graph.tensor(index).shape),
        pixel_scale=1 / 255 if pixels else 1.0,
    )


def _require(
    network: SpanDeploy | QuantizedSpan, *, recipe: str, size: tuple[int, int], out: Path, backend: str
) -> None:
    """Refuse what cannot be asked for, before any work is done."""
    formats = recipe_named(recipe).formats
    if "tflite" not in formats:
        raise InputError(f"recipe {recipe!r} is not made for TFLite; it is for {', '.join(formats)}")
    if backend not in get_args(Backend):
        raise InputError(f"backend {backend!r} is unknown; the backends are {', '.join(get_args(Backend))}")
    if isinstance(network, QuantizedSpan):
        _require_quantized(network, recipe, backend)
    elif recipe not in FLOAT_RECIPES:
        raise InputError(
            f"recipe {recipe!r} needs a quantized network and a float one was given; quantize it first "
            f"(span-edge quantize --recipe {recipe}), or take {' or '.join(FLOAT_RECIPES)}"
        )
    if len(size) != 2 or any(type(n) is not int or n < 1 for n in size):
        raise InputError(
            f"size {size} is not two whole numbers of pixels from 1 up; give height and width, as 128x128"
        )
    if out.suffix != ".tflite":
        raise InputError(f"{out}: a TFLite file's name ends in .tflite; give such a name")


def _require_tensorflow_backend(saved_model: Path, backend: str, *, overwrite: bool) -> None:
    """Refuse a SavedModel that the backend cannot give or that may not be written."""
    if backend != "tensorflow":
        raise InputError(
            f"a SavedModel ({saved_model}) is made by the backend 'tensorflow', and {backend!r} was asked "
            "for; take that backend, or no SavedModel"
        )
    refuse_existing(saved_model, overwrite=overwrite, folder=True)


def _require_quantized(network: QuantizedSpan, recipe: str, backend: str) -> None:
    if recipe != network.recipe:
        raise InputError(
            f"recipe {recipe!r} was asked for and the network was quantized by {network.recipe!r}; "
            f"ask for that, or quantize the float checkpoint by {recipe!r}"
        )
    if backend != DEFAULT_BACKEND:
        raise InputError(f"backend {backend!r} converts float networks only; leave it out for {recipe!r}")


def _float_graph(network: SpanDeploy, recipe: str, size: tuple[int, int], backend: Backend) -> Graph:
    """The exported network after every rewrite."""
    filters = {name: conv.weight.detach().numpy() for name, conv in network.convolutions().items()}
    upscale = network.config.upscale
    graph = Graph.read(BACKENDS[backend](network))
    tflite_graph.merge_pixel_shuffle(graph, upscale=upscale)
    tflite_graph.set_size(graph, size=size, upscale=upscale)
    tflite_graph.name_layers(graph, filters)
    if recipe == "fp16":
        tflite_graph.halve_filters(graph)
    return graph


def tflite_by_litert(network: SpanDeploy) -> bytes:
    """The float32 network as TFLite, by litert-torch, at `TRACED_SIZE`.

    litert-torch itself puts the image's factor into the first filter and the padding into the convolutions;
    it writes the pixel shuffle as seven operations, which `tflite_graph.merge_pixel_shuffle` takes back.
    """
    network = copy.deepcopy(network).eval()
    with quiet():
        import litert_torch

        shown, litert_torch.config.show_progress = litert_torch.config.show_progress, False
        try:
            nhwc = litert_torch.to_channel_last_io(network, args=[0], outputs=[0]).eval()
            image = torch.zeros(1, *TRACED_SIZE, network.config.in_channels)
            return bytes(litert_torch.convert(nhwc, (image,)).model_content())
        finally:
            litert_torch.config.show_progress = shown


BACKENDS: dict[Backend, Callable[[SpanDeploy], bytes]] = {
    "litert": tflite_by_litert,
    "tensorflow": tensorflow_backend.tflite_by_tensorflow,
}
"""The converters; each gives the bytes of a float32 model, NHWC in and out."""
