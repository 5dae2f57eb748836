"""What a SPAN network is, in numbers: enough to build it, and to find it again in a converted file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

NetworkName = Literal["span", "spanf"]


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """What the shapes of a checkpoint's weights tell.

    Attributes:
        in_channels: channels of the low-resolution image.
        feature_channels: channels between the SPAB blocks.
        concat_channels: output channels of `conv_cat`.
        shuffled_channels: channels before the pixel shuffle: the image's output channels times the square of
            the upscale. The two cannot be told apart.
    """

    in_channels: int
    feature_channels: int
    concat_channels: int
    shuffled_channels: int


@dataclass(frozen=True, kw_only=True)
class SpanConfig:
    """The hyper-parameters of one network, as read off its checkpoint.

    Attributes:
        network: row of `models.variants.NETWORKS`.
        in_channels: channels of the low-resolution image.
        out_channels: channels of the super-resolved image.
        feature_channels: channels between the SPAB blocks.
        concat_channels: output channels of `conv_cat`.
        upscale: pixels out per pixel in, along each side.
        normalize: whether the mean is subtracted and the image scaled by `img_range` first.
        img_range: factor on the [0, 1] image; not stored in checkpoints.
        rgb_mean: mean of the training images in [0, 1], one per input channel; not stored in checkpoints.
    """

    network: NetworkName = "span"
    in_channels: int = 3
    out_channels: int = 3
    feature_channels: int = 48
    concat_channels: int = 48
    upscale: int = 4
    normalize: bool = True
    img_range: float = 255.0
    rgb_mean: tuple[float, ...] = (0.4488, 0.4371, 0.4040)

    def to_json(self) -> dict[str, Any]:
        """The config as JSON-ready data; `from_json` takes it back."""
        return {**asdict(self), "rgb_mean": list(self.rgb_mean)}

    def unlike(self, other: "SpanConfig") -> str:
        """In which hyper-parameters this differs from another, `upscale 2, not 4`; empty if in none."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return "; ".join(f"{name} {mine}, not {its}" for name, mine, its in pairs if mine != its)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SpanConfig":
        """The config that `to_json` gave.

        Raises:
            ValueError, TypeError: a key is missing or unknown, or a value is of another type.
        """
        names = {f.name for f in fields(cls)}
        if set(data) != names:
            raise ValueError(f"config keys {sorted(data)} are not {sorted(names)}")
        wrong = [
            name
            for name in names - {"rgb_mean", "img_range"}
            if type(data[name]) is not type(getattr(cls, name))
        ]
        if wrong:
            raise ValueError(f"config values of {sorted(wrong)} are of a wrong type")
        return cls(
            **{
                **data,
                "img_range": float(data["img_range"]),
                "rgb_mean": tuple(float(m) for m in data["rgb_mean"]),
            }
        )
