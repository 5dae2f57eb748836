"""Resizing of the last axes. Sampling points follow the operations' definitions, in float64."""

import torch

from ..registry import Tensor, kernel

Sides = tuple[int, ...]


def sampling_points(mode: str, given: int, wanted: int) -> Tensor:
    """Where `wanted` samples lie on an axis of `given` elements, in [0, given - 1], float64.

    Source: "Notes" of `resize_bilinear` in the MIL operation definitions.

    Raises:
        ValueError: unknown mode.
    """
    i = torch.arange(wanted, dtype=torch.float64)
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        if wanted == 1:
            points = i + ((given - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0)
        else:
            points = i * (given - 1) / (wanted - 1)
    elif mode == "DEFAULT":
        points = i * given / wanted
    elif mode == "OFFSET_CORNERS":
        delta = max(1, given - 1) / wanted
        points = 0.5 * delta + i * delta
    elif mode == "UNALIGN_CORNERS":
        points = (i + 0.5) * given / wanted - 0.5
    else:
        raise ValueError(f"unknown sampling mode {mode!r}")
    return points.clamp(0, given - 1)


def _linear(x: Tensor, sides: Sides, mode: str) -> Tensor:
    """The last axes of `x` resized to `sides`, axis by axis, between the two nearest elements."""
    for axis, wanted in enumerate(sides, start=x.ndim - len(sides)):
        points = sampling_points(mode, x.shape[axis], wanted)
        low = points.floor().long()
        high = (low + 1).clamp(max=x.shape[axis] - 1)
        share = (points - low).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1 - axis))
        x = torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)
    return x


def _nearest(x: Tensor, sides: Sides) -> Tensor:
    """The last axes of `x` resized to `sides`; sample i takes element floor(i * given / wanted)."""
    for axis, wanted in enumerate(sides, start=x.ndim - len(sides)):
        x = x.index_select(axis, torch.arange(wanted) * x.shape[axis] // wanted)
    return x


def _scaled(x: Tensor, scale_factor_height: float, scale_factor_width: float) -> Sides:
    return int(x.shape[-2] * scale_factor_height), int(x.shape[-1] * scale_factor_width)


@kernel(stored=True)
def upsample_nearest_neighbor(
    *, x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1
) -> Tensor:
    """The last two axes made longer, each sample the element at or before it."""
    return _nearest(x, _scaled(x, scale_factor_height, scale_factor_width))


@kernel(stored=True)
def resize_nearest_neighbor(*, x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """The last two axes resized, each sample the element at or before it."""
    return _nearest(x, (target_size_height, target_size_width))


@kernel()
def upsample_bilinear(
    *,
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """The last two axes made longer, between neighbours; half_pixel_centers: not align_corners by default."""
    centers = not align_corners if half_pixel_centers is None else half_pixel_centers
    if align_corners and centers:
        raise ValueError("align_corners and half_pixel_centers exclude each other")
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS" if centers else "DEFAULT"
    return _linear(x, _scaled(x, scale_factor_height, scale_factor_width), mode)


@kernel()
def resize_bilinear(
    *, x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """The last two axes resized, between neighbours."""
    return _linear(x, (target_size_height, target_size_width), sampling_mode)


@kernel(since="CoreML7")
def resize(
    *,
    x: Tensor,
    shape: tuple[int, ...],
    resized_dims: int,
    interpolation_mode: str = "LINEAR",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """The last `resized_dims` axes resized to the last sides of `shape`; 0 keeps the side."""
    asked = shape[len(shape) - resized_dims :]
    kept = x.shape[x.ndim - resized_dims :]
    sides = tuple(side or own for side, own in zip(asked, kept, strict=True))
    if interpolation_mode == "LINEAR":
        return _linear(x, sides, sampling_mode)
    if sampling_mode != "DEFAULT":
        raise ValueError(f"which element is nearest in sampling mode {sampling_mode} is not documented")
    return _nearest(x, sides)


@kernel(stored=True)
def crop(*, x: Tensor, crop_height: tuple[int, ...], crop_width: tuple[int, ...]) -> Tensor:
    """X without `crop_height` rows (above, below) and `crop_width` columns (left, right)."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
