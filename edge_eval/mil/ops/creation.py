"""Tensors made from shapes and numbers."""

import torch

from ..registry import Tensor, kernel


@kernel(stored=True)
def shape(*, x: Tensor) -> Tensor:
    """The sides of x as int32."""
    return torch.tensor(x.shape, dtype=torch.int32)


@kernel(stored=True)
def fill(*, shape: tuple[int, ...], value: Tensor | None = None) -> Tensor:
    """`value` everywhere, float32 0 by default."""
    return torch.zeros(shape) if value is None else torch.full(shape, value.item(), dtype=value.dtype)


@kernel(since="CoreML6", stored=True)
def fill_like(*, ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    """`value` everywhere, float32 0 by default, in the shape of `ref_tensor`."""
    sides = tuple(ref_tensor.shape)
    return torch.zeros(sides) if value is None else torch.full(sides, value.item(), dtype=value.dtype)


@kernel(stored=True)
def range_1d(*, end: Tensor, start: Tensor, step: Tensor) -> Tensor:
    """Start, start + step and so on up to, without, end."""
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


@kernel(stored=True)
def one_hot(
    *,
    indices: Tensor,
    one_hot_vector_size: int,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """A new axis: `on_value` at the index, `off_value` elsewhere, int32 1 and 0 by default."""
    on = torch.tensor(1, dtype=torch.int32) if on_value is None else on_value
    off = torch.zeros((), dtype=on.dtype) if off_value is None else off_value
    hot = indices.long().unsqueeze(-1) == torch.arange(one_hot_vector_size)
    return torch.where(hot, on, off).movedim(-1, axis)


@kernel(stored=True)
def band_part(*, x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """X with zeros more than `lower` below and `upper` above the diagonal of its last axes; -1: no bound."""
    below = torch.arange(x.shape[-2])[:, None] - torch.arange(x.shape[-1])
    held = ((below <= lower) | (lower < 0)) & ((-below <= upper) | (upper < 0))
    return torch.where(held, x, torch.zeros_like(x))


@kernel()
def cumsum(*, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sums along `axis`, from the end if `reverse`, each without its own element if `exclusive`."""
    ordered = x.flip(axis) if reverse else x
    sums = ordered.cumsum(axis, dtype=x.dtype)
    sums = sums - ordered if exclusive else sums
    return sums.flip(axis) if reverse else sums
