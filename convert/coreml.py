"""Folded and quantized networks to Core ML ML Programs (`.mlpackage`), written anywhere, for iOS and macOS.

A float network goes through `coreml_float`, and `coreml_palette` where its weights get a palette; a quantized
one is written down node by node by `coreml_nodes`.
"""

from pathlib import Path
from typing import Any, get_args

from models.deploy import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent
from models.variants import NETWORKS
from quantize.quantized import QuantizedSpan
from quantize.recipe import Recipe, recipe_named

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
from .coreml_edges import Edges, Io
from .coreml_float import float_model
from .coreml_nodes import FloatBits, quantized_model
from .coreml_palette import palettized_network, with_palettes
from .coreml_sizes import Sizes

IOS_VERSIONS = (15, 16, 17, 18)
"""Deployment targets: ML Programs start with iOS 15."""
FLOAT16_MOST = 65504.0


def to_coreml(
    network: SpanDeploy | QuantizedSpan,
    *,
    recipe: str,
    sizes: Sizes,
    source: Source,
    out: Path,
    io: Io = "image",
    minimum_ios: int = 17,
    float_bits: FloatBits = 16,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """A Core ML package, and its sidecar JSON beside it.

    Its model takes `image` and gives `upscaled`. With `io="image"` both are images (RGB, or grey for networks
    of one channel), clipped to 0..255; with `io="tensor"` both are float32 (1, C, H, W) in [0, 1], unclipped.

    Args:
        network: the folded network, or a quantized one; left unchanged.
        recipe: for a folded network `fp16`, `fp32` (full precision, which the Neural Engine does not run), or
            `pal8`, `pal6`, `pal4` (palettized weights, float16); for a quantized one the recipe that it was
            quantized by.
        sizes: the image sizes it takes.
        source: the checkpoint, for the file's metadata.
        out: the folder to write; its name ends in `.mlpackage`.
        io: images or tensors.
        minimum_ios: oldest iOS that must run it, from `IOS_VERSIONS`.
        float_bits: of a quantized network's arithmetic between integers, where Core ML does not fuse it away;
            32 gives the simulation's integers but for single steps, and shuts the Neural Engine out.
        overwrite: replace an existing package.
        progress: told of the three steps.

    Raises:
        InputError: the recipe, the iOS version, the I/O or the name is not one that is accepted, 32 bits are
            asked for a network that is not quantized, a weight does not fit float16, the channels are not
            those of an image, or the package exists or cannot be written.
    """
    row = recipe_named(recipe)
    _require(network, row, out=out, io=io, minimum_ios=minimum_ios)
    if float_bits != 16 and not isinstance(network, QuantizedSpan):
        raise InputError(
            f"{float_bits}-bit arithmetic is a choice for quantized networks; recipe {recipe!r} says it by "
            "its name, take fp16 or fp32"
        )
    refuse_taken(out, overwrite=overwrite)
    edges = Edges(io=io, sizes=sizes, config=network.config)
    progress("convert to Core ML", 0, 3, "build the program")
    if isinstance(network, QuantizedSpan):
        model = quantized_model(network, edges=edges, minimum_ios=minimum_ios, float_bits=float_bits)
    elif row.palette_bits:
        limited = palettized_network(network, bits=row.palette_bits, progress=progress)
        plain = float_model(limited, recipe="fp16", edges=edges, minimum_ios=minimum_ios)
        model = with_palettes(plain, bits=row.palette_bits)
    else:
        model = float_model(network, recipe=recipe, edges=edges, minimum_ios=minimum_ios)
    progress("convert to Core ML", 1, 3, "describe it")
    info = _info(edges, recipe=recipe, source=source, backend="nodes" if row.weight_bits else "coremltools")
    _describe(model, info, sizes)
    progress("convert to Core ML", 2, 3, "write")
    artifact = write_artifact(out, info, lambda path: model.save(str(path)), overwrite=overwrite)
    progress("convert to Core ML", 3, 3, out.name)
    return artifact


def _require(
    network: SpanDeploy | QuantizedSpan, recipe: Recipe, *, out: Path, io: str, minimum_ios: int
) -> None:
    """Refuse what cannot be asked for, before any work is done."""
    _require_recipe(network, recipe)
    if minimum_ios not in IOS_VERSIONS:
        raise InputError(
            f"iOS {minimum_ios} is no target of ours; choose {', '.join(map(str, IOS_VERSIONS))}"
        )
    if minimum_ios < _oldest_ios(recipe):
        raise InputError(
            f"recipe {recipe.name!r} needs iOS {_oldest_ios(recipe)} or newer, not {minimum_ios}"
        )
    if io not in get_args(Io):
        raise InputError(f"input and output {io!r} are unknown; choose {' or '.join(get_args(Io))}")
    if out.suffix != ".mlpackage":
        raise InputError(f"{out}: a Core ML package's name ends in .mlpackage; give such a name")
    channels = (network.config.in_channels, network.config.out_channels)
    if io == "image" and not set(channels) <= {1, 3}:
        raise InputError(
            f"images have 1 or 3 channels and the network {channels[0]} in, {channels[1]} out; take tensors"
        )
    if isinstance(network, SpanDeploy) and recipe.name != "fp32":
        _refuse_wide(network)


def _require_recipe(network: SpanDeploy | QuantizedSpan, recipe: Recipe) -> None:
    if recipe.activation_bits == 16:
        raise InputError(
            f"recipe {recipe.name!r} is not made for Core ML, which has no 16-bit integer activations; "
            "take 'w8', which keeps them in float16"
        )
    if "coreml" not in recipe.formats:
        raise InputError(
            f"recipe {recipe.name!r} is not made for Core ML; it is for {', '.join(recipe.formats)}"
        )
    if isinstance(network, QuantizedSpan):
        if recipe.name != network.recipe:
            raise InputError(
                f"recipe {recipe.name!r} was asked for and the network was quantized by {network.recipe!r}; "
                f"ask for that, or quantize the float checkpoint by {recipe.name!r}"
            )
    elif recipe.weight_bits is not None:
        raise InputError(
            f"recipe {recipe.name!r} needs a quantized network and a float one was given; quantize it first "
            f"(span-edge quantize --recipe {recipe.name}), or take a float or palettized recipe"
        )


def _oldest_ios(recipe: Recipe) -> int:
    """What first has the operations: iOS 17 brought quantize, 16 compressed weights, 15 ML Programs."""
    if recipe.activation_bits:
        return 17
    return 16 if recipe.weight_bits or recipe.palette_bits else 15


def _refuse_wide(network: SpanDeploy) -> None:
    wide = [
        f"{name}.{part} ({float(value.abs().max()):.3g})"
        for name, conv in network.convolutions().items()
        for part, value in conv.named_parameters()
        if not float(value.abs().max()) <= FLOAT16_MOST
    ]
    if wide:
        raise InputError(
            f"float16 ends at {FLOAT16_MOST:.0f} and these are beyond it: {', '.join(wide)}; take fp32"
        )


def _info(edges: Edges, *, recipe: str, source: Source, backend: str) -> ArtifactInfo:
    """What the package says of itself."""
    config, sizes = edges.config, edges.sizes

    def spec(name: str, factor: int, channels: int) -> TensorSpec:
        sides = tuple(side * factor for side in sizes.default) if sizes.is_fixed else (None, None)
        if edges.io == "image":
            return TensorSpec(name=name, layout="image", dtype="uint8", shape=sides, pixel_scale=1 / 255)
        return TensorSpec(
            name=name, layout="NCHW", dtype="float32", shape=(1, channels, *sides), pixel_scale=1.0
        )

    return ArtifactInfo(
        format="coreml",
        recipe=recipe,
        backend=backend,
        config=config,
        source=source,
        input=spec(INPUT_NAME, 1, config.in_channels),
        output=spec(OUTPUT_NAME, config.upscale, config.out_channels),
        versions=tool_versions(),
    )


def _describe(model: Any, info: ArtifactInfo, sizes: Sizes) -> None:
    """Enter what Xcode shows, what `read_artifact` reads, and the output's sizes, open by default."""
    config = info.config
    kind = "image" if info.input.layout == "image" else "tensor (1, C, H, W), float32 in [0, 1]"
    model.author = "span-edge"
    model.license = f"The licence of the checkpoint {info.source.name} applies to the weights."
    model.version = info.versions.get("span-edge", "")
    model.short_description = (
        f"{NETWORKS[config.network].title} super-resolution, {config.upscale} times as large per side; "
        f"{info.recipe}, made from {info.source.name} (SHA-256 {info.source.sha256[:12]})."
    )
    model.input_description[INPUT_NAME] = f"Low-resolution {kind}."
    model.output_description[OUTPUT_NAME] = (
        f"Super-resolved {kind}, {config.upscale} times the input's height and width."
    )
    model.user_defined_metadata[METADATA_KEY] = info_text(info)
    output = model._spec.description.output[0].type
    if output.WhichOneof("Type") == "imageType" and not sizes.is_fixed:
        _bound(output.imageType, sizes.times(config.upscale))


def _bound(image: Any, sizes: Sizes) -> None:
    """State the sizes of an image of the model's description."""
    image.height, image.width = sizes.default
    image.ClearField("SizeFlexibility")
    for height, width in sizes.enumerated:
        image.enumeratedSizes.sizes.add(height=height, width=width)
    if sizes.smallest is not None and sizes.largest is not None:
        ranges = (image.imageSizeRange.heightRange, image.imageSizeRange.widthRange)
        for bounds, low, high in zip(ranges, sizes.smallest, sizes.largest, strict=True):
            bounds.lowerBound, bounds.upperBound = low, high
