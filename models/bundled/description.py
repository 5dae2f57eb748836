"""Everything that is known of a bundled checkpoint: read off its weights, its metadata, its measurements."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import SpanConfig
from ..files import size_of
from .catalogue import bundled_path


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What `NAME.json` holds: figures of the tool's own evaluation, and what to know before use.

    Attributes:
        psnr_y_db: by test set, the float network's mean PSNR-Y over whole images.
        ssim_y: likewise its mean SSIM-Y.
        command: what measured both, with DATA for a test set's folder.
        teacher: which network was learned from, in words; empty where none was.
        limits: one sentence each.
        licence: of the weights and of what they were made from, one sentence each.
    """

    psnr_y_db: Mapping[str, float]
    ssim_y: Mapping[str, float]
    command: str
    teacher: str
    limits: tuple[str, ...]
    licence: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Measured":
        """The content of a bundled checkpoint's JSON file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**data, "limits": tuple(data["limits"]), "licence": tuple(data["licence"])})


@dataclass(frozen=True, kw_only=True)
class BundledCheckpoint:
    """A bundled checkpoint and its costs.

    Attributes:
        name: by which it is given to commands and to `load_checkpoint`.
        path: of its file.
        sha256: of its file.
        size_bytes: of its file.
        config: the network's hyper-parameters.
        parameters: weights and biases once folded.
        trained_parameters: those of the training form that the file holds.
        macs_per_lr_pixel: multiply-accumulates of the folded network per pixel in.
        training: how it was trained, the metadata of its file.
        measured: the content of its JSON file.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int
    config: SpanConfig
    parameters: int
    trained_parameters: int
    macs_per_lr_pixel: int
    training: Mapping[str, str]
    measured: Measured

    @property
    def macs_per_output_pixel(self) -> float:
        """Multiply-accumulates of the folded network per pixel out."""
        return self.macs_per_lr_pixel / self.config.upscale**2

    def to_json(self) -> dict[str, Any]:
        """An entry of `models` of `span-edge models --json`."""
        measured = asdict(self.measured)
        return {
            "name": self.name,
            "scale": self.config.upscale,
            "channels": self.config.feature_channels,
            "parameters": self.parameters,
            "trained_parameters": self.trained_parameters,
            "macs_per_lr_pixel": self.macs_per_lr_pixel,
            "macs_per_output_pixel": self.macs_per_output_pixel,
            "psnr_y_db": measured.pop("psnr_y_db"),
            "ssim_y": measured.pop("ssim_y"),
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "config": self.config.to_json(),
            "training": dict(self.training),
            "measured_by": measured.pop("command"),
            **measured,
        }


def describe(name: str) -> BundledCheckpoint:
    """The bundled checkpoint of that name, its file read.

    Raises:
        InputError: there is none of that name.
    """
    from ..checkpoint import load_checkpoint
    from ..cost import count_macs, count_parameters

    path = bundled_path(name)
    loaded = load_checkpoint(path)
    return BundledCheckpoint(
        name=name,
        path=path,
        sha256=loaded.sha256,
        size_bytes=size_of(path),
        config=loaded.config,
        parameters=count_parameters(loaded.config),
        trained_parameters=sum(parameter.numel() for parameter in loaded.network.parameters()),
        macs_per_lr_pixel=count_macs(loaded.config),
        training=loaded.metadata,
        measured=Measured.read(path.with_suffix(".json")),
    )
