"""From a checkpoint file to a network, or to a refusal that says why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from .config import SpanConfig
from .deploy import SpanDeploy
from .errors import InputError
from .files import sha256_of
from .variants import NETWORKS

Form = Literal["training", "folded", "both"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint file that was read.

    Attributes:
        name: the file's name without its suffix.
        path: the file.
        sha256: its hash.
        config: the network's hyper-parameters.
        network: a `Span` (training form, or both forms), or a `SpanDeploy` (folded form), in eval mode, float32.
        form: which form the file holds.
        notes: what the user should know, one sentence each.
    """

    name: str
    path: Path
    sha256: str
    config: SpanConfig
    network: nn.Module
    form: Form
    notes: tuple[str, ...]


def load_checkpoint(
    source: str | Path, *, img_range: float | None = None, rgb_mean: tuple[float, ...] | None = None
) -> Checkpoint:
    path = Path(source)
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("params_ema", "params"):
        state = state.get(key, state)
    state = {k.replace(".eval_conv", ""): v for k, v in state.items()}
    name = next(n for n, row in NETWORKS.items() if all(f"{t}.weight" in state for t in row.telltale))
    dims = NETWORKS[name].dimensions({k: tuple(v.shape) for k, v in state.items()})
    shuffled = dims.pop("shuffled_channels")
    config = SpanConfig(
        network=name,
        upscale=round((shuffled / dims["in_channels"]) ** 0.5),
        out_channels=dims["in_channels"],
        normalize=NETWORKS[name].normalizes,
        **dims,
    )
    network = SpanDeploy(config)
    network.load_state_dict(state)
    return Checkpoint(
        name=path.stem,
        path=path,
        sha256=sha256_of(path),
        config=config,
        network=network.eval().requires_grad_(False),
        form="folded",
        notes=(),
    )
