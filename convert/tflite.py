"""Folded float networks to TFLite files.

`to_tflite` is an export by one of `BACKENDS`, then the rewrites of `tflite_graph`, in the order in which
`_finished` lists them.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import torch

from models.config import SpanConfig
from models.deploy import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent

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

Backend = Literal["litert", "tensorflow"]
DEFAULT_BACKEND: Backend = "litert"
FLOAT_RECIPES = ("fp32", "fp16")
TRACED_SIZE = (24, 32)
"""Networks are traced at this size whatever size is asked for: no constant depends on it, and it is quick."""


def to_tflite(
    network: SpanDeploy,
    *,
    recipe: str,
    size: tuple[int, int],
    source: Source,
    out: Path,
    backend: Backend = DEFAULT_BACKEND,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """A float TFLite file, and its sidecar JSON beside it.

    The file has one signature, `serving_default`: `image`, (1, H, W, C) float32 in [0, 1], to `upscaled`,
    (1, s*H, s*W, C) float32, unclipped. It takes any other size after `resize_input_tensor`.

    Args:
        network: the folded network, left unchanged.
        recipe: `fp32`, or `fp16` for filters stored in float16 and computed with in float32.
        size: (H, W) of the image in pixels.
        source: the checkpoint, for the file's metadata.
        out: the file to write; its name ends in `.tflite`.
        backend: the converter; they give the same operations.
        overwrite: replace an existing file.
        progress: told of the three steps.

    Raises:
        InputError: the recipe, the size, the name or the backend is not one that is accepted, TensorFlow is
            asked for and not installed, a weight does not fit float16, or the file exists or cannot be
            written.
    """
    _require(recipe=recipe, size=size, out=out, backend=backend)
    refuse_taken(out, overwrite=overwrite)
    progress("convert to TFLite", 0, 3, f"export by {backend}")
    exported = BACKENDS[backend](network)
    progress("convert to TFLite", 1, 3, "rewrite")
    info = float_info(network.config, recipe=recipe, size=size, source=source, backend=backend)
    data = _finished(exported, network, info, size)
    progress("convert to TFLite", 2, 3, "write")
    artifact = write_artifact(out, info, lambda path: path.write_bytes(data), overwrite=overwrite)
    progress("convert to TFLite", 3, 3, out.name)
    return artifact


def float_info(
    config: SpanConfig, *, recipe: str, size: tuple[int, int], source: Source, backend: str
) -> ArtifactInfo:
    """What a float file says of itself."""
    return ArtifactInfo(
        format="tflite",
        recipe=recipe,
        backend=backend,
        config=config,
        source=source,
        input=_float_tensor(INPUT_NAME, size, config.in_channels),
        output=_float_tensor(
            OUTPUT_NAME, (config.upscale * size[0], config.upscale * size[1]), config.out_channels
        ),
        versions=tool_versions(),
    )


def _float_tensor(name: str, size: tuple[int, int], channels: int) -> TensorSpec:
    return TensorSpec(name=name, layout="NHWC", dtype="float32", shape=(1, *size, channels), pixel_scale=1.0)


def _require(*, recipe: str, size: tuple[int, int], out: Path, backend: str) -> None:
    """Refuse what cannot be asked for, before any work is done."""
    from quantize.recipe import recipe_named

    if "tflite" not in recipe_named(recipe).formats:
        raise InputError(
            f"recipe {recipe!r} is not made for TFLite; it is for {', '.join(recipe_named(recipe).formats)}"
        )
    if recipe not in FLOAT_RECIPES:
        raise InputError(
            f"recipe {recipe!r} needs a quantized network and a float one was given; quantize it first "
            f"(span-edge quantize --recipe {recipe}), or take {' or '.join(FLOAT_RECIPES)}"
        )
    if backend not in get_args(Backend):
        raise InputError(f"backend {backend!r} is unknown; the backends are {', '.join(get_args(Backend))}")
    if len(size) != 2 or any(type(n) is not int or n < 1 for n in size):
        raise InputError(
            f"size {size} is not two whole numbers of pixels from 1 up; give height and width, as 128x128"
        )
    if out.suffix != ".tflite":
        raise InputError(f"{out}: a TFLite file's name ends in .tflite; give such a name")


def _finished(exported: bytes, network: SpanDeploy, info: ArtifactInfo, size: tuple[int, int]) -> bytes:
    """The exported model after every rewrite."""
    filters = {name: conv.weight.detach().numpy() for name, conv in network.convolutions().items()}
    upscale = network.config.upscale
    graph = Graph.read(exported)
    tflite_graph.merge_pixel_shuffle(graph, upscale=upscale)
    tflite_graph.set_size(graph, size=size, upscale=upscale)
    tflite_graph.name_layers(graph, filters)
    if info.recipe == "fp16":
        tflite_graph.halve_filters(graph)
    tflite_graph.sign(graph, input_name=INPUT_NAME, output_name=OUTPUT_NAME)
    tflite_graph.attach(graph, key=METADATA_KEY, text=info_text(info))
    tflite_graph.require_clean(graph, convolutions=len(filters), upscale=upscale)
    return graph.serialize()


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
