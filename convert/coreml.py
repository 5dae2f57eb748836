"""Folded float networks to Core ML ML Programs (`.mlpackage`), written anywhere, for iOS and macOS.

`to_coreml` is an export by `torch.export`, coremltools' frontend, our passes of `coreml_passes` before
coremltools' own, and a description. Tracing gives the same operations from 204 nodes instead of 62 and
without the layers' names, and torch has deprecated it.
"""

import warnings
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from models.config import SpanConfig
from models.deploy import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent
from models.variants import NETWORKS

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
from .coreml_library import load_coremltools, without_bars
from .coreml_sizes import Sizes

Io = Literal["image", "tensor"]
FLOAT_RECIPES = ("fp32", "fp16")
IOS_VERSIONS = (15, 16, 17, 18)
"""Deployment targets: ML Programs start with iOS 15."""
TRACED_SIZE = (24, 32)
FLOAT16_MOST = 65504.0


def to_coreml(
    network: SpanDeploy,
    *,
    recipe: str,
    sizes: Sizes,
    source: Source,
    out: Path,
    io: Io = "image",
    minimum_ios: int = 17,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Artifact:
    """A float Core ML package, and its sidecar JSON beside it.

    Its model takes `image` and gives `upscaled`. With `io="image"` both are images (RGB, or grey for networks
    of one channel), clipped to 0..255; with `io="tensor"` both are float32 (1, C, H, W) in [0, 1], unclipped.

    Args:
        network: the folded network, left unchanged.
        recipe: `fp16`, or `fp32` for full precision, which the Neural Engine does not run.
        sizes: the image sizes it takes.
        source: the checkpoint, for the file's metadata.
        out: the folder to write; its name ends in `.mlpackage`.
        io: images or tensors.
        minimum_ios: oldest iOS that must run it, from `IOS_VERSIONS`.
        overwrite: replace an existing package.
        progress: told of the three steps.

    Raises:
        InputError: the recipe, the iOS version, the I/O or the name is not one that is accepted, a weight
            does not fit float16, the channels are not those of an image, or the package exists or cannot be
            written.
    """
    _require(network, recipe=recipe, out=out, io=io, minimum_ios=minimum_ios)
    refuse_taken(out, overwrite=overwrite)
    progress("convert to Core ML", 0, 3, "export")
    exported = _exported(_Pixels(network, io), sizes)
    progress("convert to Core ML", 1, 3, "convert")
    model = _converted(exported, network.config, recipe=recipe, sizes=sizes, io=io, minimum_ios=minimum_ios)
    info = _info(network.config, recipe=recipe, sizes=sizes, source=source, io=io)
    _describe(model, info, sizes)
    progress("convert to Core ML", 2, 3, "write")
    artifact = write_artifact(out, info, lambda path: model.save(str(path)), overwrite=overwrite)
    progress("convert to Core ML", 3, 3, out.name)
    return artifact


class _Pixels(nn.Module):
    """The network from what an app gives to what it gets: pixels in 0..255 for images, [0, 1] for tensors.

    Mean and factor are brought to the pixels' scale, so that for images and a range of 255 the mean's
    subtraction is all that is left of the normalization. The mean cannot go into the first convolution: the
    padding is zero after it is subtracted.
    """

    mean: Tensor

    def __init__(self, network: SpanDeploy, io: Io) -> None:
        super().__init__()
        config = network.config
        self.network = network
        self.white = 255.0 if io == "image" else 1.0
        self.clips = io == "image"
        self.gain = (config.img_range if config.normalize else 1.0) / self.white
        mean = (
            torch.tensor(config.rgb_mean, dtype=torch.float64) * self.white
            if config.normalize
            else torch.zeros(0)
        )
        self.register_buffer("mean", mean.float().view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(1, C, H, W) -> (1, C_out, s*H, s*W), both in the app's scale."""
        x = image - self.mean if self.mean.numel() else image
        x = x * self.gain if self.gain != 1 else x
        config = self.network.config
        upscaled = NETWORKS[config.network].forward(dict(self.network.named_children()), x)
        return torch.clamp(upscaled * self.white, 0.0, self.white) if self.clips else upscaled


def _require(network: SpanDeploy, *, recipe: str, out: Path, io: str, minimum_ios: int) -> None:
    """Refuse what cannot be asked for, before any work is done."""
    from quantize.recipe import recipe_named

    if "coreml" not in recipe_named(recipe).formats:
        raise InputError(
            f"recipe {recipe!r} is not made for Core ML; it is for {', '.join(recipe_named(recipe).formats)}"
        )
    if recipe not in FLOAT_RECIPES:
        raise InputError(
            f"recipe {recipe!r} needs a quantized network and a float one was given; quantize it first "
            f"(span-edge quantize --recipe {recipe}), or take {' or '.join(FLOAT_RECIPES)}"
        )
    if minimum_ios not in IOS_VERSIONS:
        raise InputError(
            f"iOS {minimum_ios} is no target of ours; choose {', '.join(map(str, IOS_VERSIONS))}"
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
    if recipe == "fp16":
        _refuse_wide(network)


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


def _exported(network: _Pixels, sizes: Sizes) -> Any:
    """The network as an exported program whose nodes are named after the network's parts."""
    height, width = sizes.default if sizes.is_fixed else TRACED_SIZE
    channels = network.network.config.in_channels
    free = None if sizes.is_fixed else ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning
        )
        program = torch.export.export(
            network.eval(), (torch.zeros(1, channels, height, width),), dynamic_shapes=free
        )
        program = program.run_decompositions({})
    for node in program.graph.nodes:
        if any(user.op == "output" for user in node.users):
            continue
        path = next(reversed(node.meta.get("nn_module_stack", {"": ("", "")}).values()))[0]
        part = path.removeprefix("network").strip(".").replace(".", "_")
        if node.op == "call_function" and part:
            node._rename(part if "conv2d" in node.name else f"{part}_{node.target.__name__.split('.')[0]}")
    return program


def _converted(
    exported: Any, config: SpanConfig, *, recipe: str, sizes: Sizes, io: Io, minimum_ios: int
) -> Any:
    """The exported program as an ML Program, an `MLModel` that is not loaded."""
    ct = load_coremltools()
    from .coreml_passes import pipeline

    def feature(name: str, channels: int, shape: Any) -> Any:
        shaped = {} if shape is None else {"shape": shape}
        if io == "tensor":
            return ct.TensorType(name=name, dtype=np.float32, **shaped)
        colors = ct.colorlayout.RGB if channels == 3 else ct.colorlayout.GRAYSCALE
        return ct.ImageType(name=name, color_layout=colors, **shaped)

    with without_bars(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*_TORCH_OPS_REGISTRY.__contains__", category=DeprecationWarning
        )
        return ct.convert(
            exported,
            convert_to="mlprogram",
            inputs=[feature(INPUT_NAME, config.in_channels, _shape(ct, sizes, config.in_channels))],
            outputs=[feature(OUTPUT_NAME, config.out_channels, None)],
            minimum_deployment_target=ct.target[f"iOS{minimum_ios}"],
            compute_precision=ct.transform.FP16ComputePrecision(op_selector=_is_past_pixels)
            if recipe == "fp16"
            else ct.precision.FLOAT32,
            pass_pipeline=pipeline(recipe),
            skip_model_load=True,
        )


def _is_past_pixels(op: Any) -> bool:
    """Whether an operation computes in float16: all but the arithmetic on the pixels themselves.

    The pixels come as float32. Normalizing them before they are rounded to float16 saves a rounding of each,
    which is 1.5 to 2 dB of drift on real SPAN weights.
    """
    while op is not None and op.op_type in ("sub", "mul"):
        op = op.x.op
    return op is not None


def _shape(ct: Any, sizes: Sizes, channels: int) -> Any:
    if sizes.enumerated:
        shapes = [(1, channels, *size) for size in sizes.enumerated]
        return ct.EnumeratedShapes(shapes=shapes, default=(1, channels, *sizes.default))
    if sizes.smallest is None or sizes.largest is None:
        return ct.Shape((1, channels, *sizes.default))
    sides = zip(sizes.smallest, sizes.largest, sizes.default, strict=True)
    ranges = (ct.RangeDim(lower_bound=low, upper_bound=high, default=side) for low, high, side in sides)
    return ct.Shape((1, channels, *ranges))


def _info(config: SpanConfig, *, recipe: str, sizes: Sizes, source: Source, io: Io) -> ArtifactInfo:
    """What the package says of itself."""

    def spec(name: str, factor: int, channels: int) -> TensorSpec:
        sides = tuple(side * factor for side in sizes.default) if sizes.is_fixed else (None, None)
        if io == "image":
            return TensorSpec(name=name, layout="image", dtype="uint8", shape=sides, pixel_scale=1 / 255)
        return TensorSpec(
            name=name, layout="NCHW", dtype="float32", shape=(1, channels, *sides), pixel_scale=1.0
        )

    return ArtifactInfo(
        format="coreml",
        recipe=recipe,
        backend="coremltools",
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
