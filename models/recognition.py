"""What a checkpoint's names and shapes say: which network, in which form, of which size; or why none."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .blocks import Conv3XC
from .config import Dimensions, NetworkName, SpanConfig
from .errors import InputError
from .span import Span
from .state_file import listed
from .variants import NETWORKS

Form = Literal["training", "folded", "both"]
Shape = tuple[int, ...]

USUAL_CHANNELS = (3, 1, 4)
"""RGB, grey, RGBA: what a network may put out if it is not what it takes in."""

FORM_TITLES: dict[Form, str] = {
    "training": "in training form",
    "folded": "in folded form",
    "both": "in training form with folded kernels beside it",
}

CONFIG_KEY = "span_edge_config"
"""Name of the config among the metadata of the .safetensors files that `models.save_checkpoint` writes."""


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The names and shapes of a network's tensors as the published code has them, without the tensors.

    Attributes:
        conv3xc: names of the convolutions that are a Conv3XC in training form.
        branches: tensors of their branches.
        folded: tensors of their `eval_conv`.
        plain: all others, alike in every form.
    """

    conv3xc: frozenset[str]
    branches: Mapping[str, Shape]
    folded: Mapping[str, Shape]
    plain: Mapping[str, Shape]

    def shapes(self, form: Form) -> dict[str, Shape]:
        """Every tensor of a checkpoint in `form`."""
        branches = {} if form == "folded" else self.branches
        folded = {} if form == "training" else self.folded
        return {**branches, **folded, **self.plain}


@lru_cache(maxsize=16)
def outline(config: SpanConfig) -> Outline:
    """The outline of the network with that config; no memory is taken for its weights."""
    with torch.device("meta"):
        span = Span(config)
    convolutions = {name: module for name, module in span.named_modules() if isinstance(module, Conv3XC)}
    shapes = {name: tuple(tensor.shape) for name, tensor in span.state_dict().items()}
    owned = {name for name in shapes if any(name.startswith(f"{conv}.") for conv in convolutions)}
    folded: dict[str, Shape] = {}
    for name, module in convolutions.items():
        folded[f"{name}.eval_conv.weight"] = (module.sk.out_channels, module.sk.in_channels, 3, 3)
        folded[f"{name}.eval_conv.bias"] = (module.sk.out_channels,)
    return Outline(
        conv3xc=frozenset(convolutions),
        branches={name: shape for name, shape in shapes.items() if name in owned},
        folded=folded,
        plain={name: shape for name, shape in shapes.items() if name not in owned},
    )


def recognised(path: Path, tensors: Mapping[str, Tensor]) -> NetworkName:
    """The row of `NETWORKS` whose tell-tale part the file has, with at least one SPAB."""
    if any(name.startswith("block_1.c1_r.") for name in tensors):
        for network, row in NETWORKS.items():
            if any(name.startswith(f"{row.telltale}.") for name in tensors):
                return network
    wanted = " or ".join(f"{row.telltale} ({row.title})" for row in NETWORKS.values())
    raise InputError(
        f"{path} is not a SPAN: it has no block_1.c1_r beside {wanted}; "
        f"it holds {listed(sorted(tensors), 4)}. Only these networks can be loaded"
    )


def official_names(
    path: Path, network: NetworkName, tensors: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Form]:
    """The tensors with every folded convolution's under `eval_conv`, and the form, once no name is wrong."""
    published = outline(SpanConfig(network=network, normalize=False))
    named = {}
    for name, tensor in tensors.items():
        part, _, kind = name.rpartition(".")
        official = f"{part}.eval_conv.{kind}" if part in published.conv3xc else name
        named[name if official in tensors else official] = tensor
    branches = any(name in named for name in published.branches)
    evals = any(name in named for name in published.folded)
    form: Form = "folded" if not branches else "both" if evals else "training"
    expected = published.shapes(form)
    missing = [name for name in expected if name not in named]
    unexpected = [name for name in named if name not in expected]
    if missing or unexpected:
        raise InputError(
            f"{path} is not a complete {NETWORKS[network].title} {FORM_TITLES[form]}: "
            + "; ".join(
                f"{len(names)} {what}: {listed(names)}"
                for what, names in (("missing", missing), ("unexpected", unexpected))
                if names
            )
            + ". Give its complete state dict, as it was published or trained"
        )
    return named, form


def refuse_ranks(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse weights other than (out, in, h, w) and biases other than (out,): sizes are read off them."""
    odd = [
        f"{name} is {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if tensor.ndim != (4 if name.endswith(".weight") else 1) or tensor.numel() == 0
    ]
    if odd:
        raise InputError(
            f"{path} holds tensors of a wrong rank: {listed(odd)}; weights have 4 axes, biases 1"
        )


def folded_shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes under folded names; a convolution's (out, in) is read off its skip branch where it has one."""
    shapes = {name.replace(".eval_conv", ""): tuple(tensor.shape) for name, tensor in tensors.items()}
    skips = {name.replace(".sk", ""): tuple(t.shape) for name, t in tensors.items() if ".sk." in name}
    return {**shapes, **skips}


def config_of(
    path: Path,
    network: NetworkName,
    shapes: Mapping[str, tuple[int, ...]],
    metadata: Mapping[str, str],
    *,
    normalize: bool,
) -> SpanConfig:
    """The config that the shapes tell, with the rest from the file's own config or as published."""
    row = NETWORKS[network]
    found = row.dimensions(shapes)
    if CONFIG_KEY in metadata:
        return _stored_config(
            path, network, found, metadata[CONFIG_KEY], normalize=row.normalizes and normalize
        )
    out_channels, upscale = _output_of(path, found)
    published = SpanConfig().rgb_mean
    grey = round(sum(published) / len(published), 4)
    return SpanConfig(
        network=network,
        in_channels=found.in_channels,
        out_channels=out_channels,
        feature_channels=found.feature_channels,
        concat_channels=found.concat_channels,
        upscale=upscale,
        normalize=row.normalizes and normalize,
        rgb_mean=published if found.in_channels == len(published) else (grey,) * found.in_channels,
    )


def _output_of(path: Path, found: Dimensions) -> tuple[int, int]:
    """Output channels and upscale, whose square times the former is what the shapes tell.

    As many channels out as in if that gives a whole upscale, else the one of `USUAL_CHANNELS` that does.
    """
    fitting = [
        (channels, math.isqrt(found.shuffled_channels // channels))
        for channels in dict.fromkeys((found.in_channels, *USUAL_CHANNELS))
        if found.shuffled_channels == channels * math.isqrt(found.shuffled_channels // channels) ** 2
    ]
    if fitting and (fitting[0][0] == found.in_channels or len(fitting) == 1):
        return fitting[0]
    raise InputError(
        f"{path} has {found.in_channels} input channels and {found.shuffled_channels} before the pixel "
        "shuffle, which tell neither output channels nor upscale, whose square times the former they are; "
        "accepted are as many out as in, or a file written by models.save_checkpoint"
    )


def _stored_config(
    path: Path, network: NetworkName, found: Dimensions, text: str, *, normalize: bool
) -> SpanConfig:
    """The config from the metadata, once it agrees with the weights."""
    try:
        config = SpanConfig.from_json(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} has a damaged config in its metadata ({error}); save it again") from error
    told = {
        "network": config.network,
        "in_channels": config.in_channels,
        "feature_channels": config.feature_channels,
        "concat_channels": config.concat_channels,
        "shuffled_channels": config.out_channels * abs(config.upscale) * config.upscale,
        "normalize": config.normalize,
    }
    held = {"network": network, **asdict(found), "normalize": normalize}
    wrong = [f"{name} {told[name]}, not {held[name]}" for name in held if told[name] != held[name]]
    if wrong:
        raise InputError(f"{path} has a config that its weights contradict: {listed(wrong)}; save it again")
    return config


def refuse_shapes(path: Path, config: SpanConfig, form: Form, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors whose shape is not what `config` makes it, with a list."""
    odd = [
        f"{name} is {tuple(tensors[name].shape)}, not {shape}"
        for name, shape in outline(config).shapes(form).items()
        if tuple(tensors[name].shape) != shape
    ]
    if odd:
        raise InputError(
            f"{path} has {len(odd)} tensors whose shape does not fit a {NETWORKS[config.network].title} with "
            f"{config.in_channels} input, {config.feature_channels} feature and {config.concat_channels} "
            f"concat channels: {listed(odd)}"
        )
