"""What convolutions and pooling share: how far the input is padded."""

from ..registry import Tensor

Sides = tuple[int, ...]


def ones(x: Tensor) -> Sides:
    """One 1 per spatial axis of `x` (N, C, spatial axes)."""
    return (1,) * (x.ndim - 2)


def paddings(
    *, pad_type: str, pad: Sides | None, spatial: Sides, kernel: Sides, strides: Sides, dilations: Sides
) -> list[tuple[int, int]]:
    """Elements to pad (before, after) along each spatial axis.

    `same` gives ceil(side / stride) outputs, an odd element of padding after; `same_lower` puts it before.

    Raises:
        ValueError: unknown `pad_type`.
    """
    if pad_type == "valid":
        return [(0, 0)] * len(spatial)
    if pad_type == "custom":
        flat = pad or (0, 0) * len(spatial)
        return list(zip(flat[::2], flat[1::2], strict=True))
    if pad_type not in ("same", "same_lower"):
        raise ValueError(f"unknown pad_type {pad_type!r}")
    result = []
    for side, taps, stride, dilation in zip(spatial, kernel, strides, dilations, strict=True):
        reach = (taps - 1) * dilation + 1
        total = max(0, (-(-side // stride) - 1) * stride + reach - side)
        less, more = total // 2, total - total // 2
        result.append((less, more) if pad_type == "same" else (more, less))
    return result


def flat_for_torch(pads: list[tuple[int, int]]) -> list[int]:
    """The same paddings as `torch.nn.functional.pad` takes them: last axis first."""
    return [side for pair in reversed(pads) for side in pair]
