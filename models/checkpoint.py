"""From a checkpoint file to a network, or to a refusal that says why; and back."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from .bundled.catalogue import located, note_of_namesake
from .config import SpanConfig
from .deploy import SpanDeploy
from .errors import InputError
from .files import sha256_of, written_whole
from .recognition import (
    CONFIG_KEY,
    Form,
    config_of,
    folded_shapes,
    official_names,
    outline,
    recognised,
    refuse_ranks,
    refuse_shapes,
)
from .reparam import reparameterize
from .span import Span
from .state_file import NO_NORM, read_state_file
from .variants import NETWORKS

STALE = 1e-5
"""A stored folded kernel is stale if it is off by more than this share of its largest weight.

Folding in float32 is off by about 1e-6; half-precision files are allowed 8 of their own steps instead."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file that was read.

    Attributes:
        name: the file's name without its suffix.
        path: the file.
        sha256: its hash.
        config: the network's hyper-parameters.
        network: a `Span` (training form, or both), or a `SpanDeploy` (folded form), in eval mode, float32.
        form: which form the file holds.
        notes: what the user should know, one sentence each.
        metadata: other text entries of a .safetensors file.
    """

    name: str
    path: Path
    sha256: str
    config: SpanConfig
    network: Span | SpanDeploy
    form: Form
    notes: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


def load_checkpoint(
    source: str | Path, *, img_range: float | None = None, rgb_mean: tuple[float, ...] | None = None
) -> Checkpoint:
    """The network in a checkpoint, every hyper-parameter read off the weights where it can be.

    Taken are .pth, .pt and .safetensors files with a state dict, bare or in the usual containers, in training
    form, in folded form, or both; of both, the branches count. What shapes cannot tell: output channels,
    which are taken to be as many as input channels where that fits the shapes, else RGB, grey or RGBA where
    one alone fits; and normalization, which comes from the options, else from the file's metadata if
    `save_checkpoint` wrote it, else is the published one, the mean of its three means for an image that is
    not RGB. What is assumed stands in the notes.

    Args:
        source: the file, or the name of a bundled checkpoint; a file of that name is taken first, and the
            notes say so.
        img_range: factor on the [0, 1] image after the mean is subtracted.
        rgb_mean: mean of the training images in [0, 1], one per input channel.

    Raises:
        InputError: there is no such file or name; the file cannot be read or is damaged; it holds another
            architecture, missing, unexpected or odd-shaped tensors, or weights that are not finite; or the
            options do not suit the network.
    """
    path = located(source)
    stored = read_state_file(path)
    tensors = dict(stored.tensors)
    no_norm = tensors.pop(NO_NORM, None) is not None
    network = recognised(path, tensors)
    tensors, form = official_names(path, network, tensors)
    refuse_ranks(path, tensors)
    config = config_of(path, network, folded_shapes(tensors), stored.metadata, normalize=not no_norm)
    assumed = () if CONFIG_KEY in stored.metadata else _assumed(config, mean_given=rgb_mean is not None)
    config = _with_options(path, config, img_range, rgb_mean)
    refuse_shapes(path, config, form, tensors)
    loaded, stale_notes = _built(config, form, tensors)
    return Checkpoint(
        name=path.stem,
        path=path,
        sha256=sha256_of(path),
        config=config,
        network=loaded,
        form=form,
        notes=note_of_namesake(path) + stored.notes + assumed + stale_notes,
        metadata={key: text for key, text in stored.metadata.items() if key != CONFIG_KEY},
    )


def save_checkpoint(
    network: Span | SpanDeploy,
    path: Path,
    metadata: Mapping[str, str] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write `network` to a .safetensors file that `load_checkpoint` reads back, normalization included.

    A training form is written as its branches, without the `eval_conv` that follows from them; the published
    code, which computes it anew before every evaluation, loads the file with `strict=False`.

    Args:
        network: left unchanged.
        path: ends in .safetensors.
        metadata: text entries to keep in the file.
        overwrite: whether an existing file is replaced.

    Raises:
        InputError: the name's suffix is another, the file exists, or it cannot be written.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise InputError(f"cannot save a checkpoint as {path.name}; give a name that ends in .safetensors")
    entries = {**(metadata or {}), CONFIG_KEY: json.dumps(network.config.to_json())}
    content = save(state_to_save(network), metadata=entries)
    with written_whole(path, overwrite=overwrite) as scratch:
        # By Python and not by `save_file`, which lets nobody but the owner read what it writes.
        scratch.write_bytes(content)


def state_to_save(network: Span | SpanDeploy) -> dict[str, Tensor]:
    """The tensors of `network` under the published names, contiguous, float32, detached.

    Of a training form the branches, of a folded one every convolution's `eval_conv`.
    """
    state = network.state_dict()
    if isinstance(network, SpanDeploy):
        convolutions = outline(network.config).conv3xc
        parts = {name: name.rpartition(".") for name in state}
        state = {
            f"{part}.eval_conv.{kind}" if part in convolutions else name: state[name]
            for name, (part, _, kind) in parts.items()
        }
    if NETWORKS[network.config.network].normalizes and not network.config.normalize:
        state[NO_NORM] = torch.zeros(1)
    return {name: tensor.detach().float().contiguous() for name, tensor in state.items()}


def _assumed(config: SpanConfig, *, mean_given: bool) -> tuple[str, ...]:
    """What neither the file nor the user said, where it is not simply as published."""
    notes = []
    if config.out_channels != config.in_channels:
        notes.append(f"{config.out_channels} output channels at x{config.upscale} are assumed")
    if config.normalize and config.in_channels != 3 and not mean_given:
        notes.append(
            f"no mean is published for {config.in_channels} channels; "
            f"{config.rgb_mean[0]} is assumed for each"
        )
    return tuple(notes)


def _with_options(
    path: Path, config: SpanConfig, img_range: float | None, rgb_mean: tuple[float, ...] | None
) -> SpanConfig:
    """The config with what the user gave instead of the file's, checked."""
    if not config.normalize and (img_range is not None or rgb_mean is not None):
        raise InputError(f"{path} is a network without normalization; leave img_range and rgb_mean out")
    if img_range is not None:
        config = replace(config, img_range=float(img_range))
    if rgb_mean is not None:
        config = replace(config, rgb_mean=tuple(float(value) for value in rgb_mean))
    if not config.normalize:
        return config
    if not (math.isfinite(config.img_range) and config.img_range > 0):
        raise InputError(f"img_range {config.img_range} is not a positive number; 255 and 1 are usual")
    if len(config.rgb_mean) != config.in_channels:
        raise InputError(
            f"rgb_mean has {len(config.rgb_mean)} values and {path} has {config.in_channels} input channels; "
            "give one value per channel"
        )
    if not all(math.isfinite(value) for value in config.rgb_mean):
        raise InputError(f"rgb_mean {config.rgb_mean} is not finite; give the mean of images in [0, 1]")
    return config


def _built(
    config: SpanConfig, form: Form, tensors: Mapping[str, Tensor]
) -> tuple[Span | SpanDeploy, tuple[str, ...]]:
    """The network with its weights, and a note if stored folded kernels are not what the branches fold to."""
    if form == "folded":
        deploy = SpanDeploy(config)
        deploy.load_state_dict({name.replace(".eval_conv", ""): tensor for name, tensor in tensors.items()})
        return deploy.eval().requires_grad_(False), ()
    span = Span(config)
    span.load_state_dict({name: tensor for name, tensor in tensors.items() if ".eval_conv." not in name})
    return span.eval(), _stale(span, tensors) if form == "both" else ()


def _stale(span: Span, tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A note that says how far the stored folded kernels are from the branches, if they are."""
    off: dict[str, float] = {}
    for name, exact in reparameterize(span).state_dict().items():
        part, _, kind = name.rpartition(".")
        stored = tensors.get(f"{part}.eval_conv.{kind}")
        if stored is None:
            continue
        error = float((stored.float() - exact).abs().max() / exact.abs().max().clamp_min(1e-12))
        if error > max(STALE, 8 * torch.finfo(stored.dtype).eps):
            off[part] = max(error, off.get(part, 0.0))
    if not off:
        return ()
    most = max(off, key=lambda name: off[name])
    return (
        f"the stored eval_conv of {len(off)} convolutions is stale (off by up to {off[most]:.2g} of the "
        f"largest weight, in {most}); they are folded again from the branches",
    )
