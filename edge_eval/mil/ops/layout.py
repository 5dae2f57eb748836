"""Operations that move elements about, and change none."""

import torch
import torch.nn.functional as F

from ..registry import Tensor, kernel


@kernel(stored=True)
def reshape(*, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """X in another shape; -1 is what is left, 0 the same axis of x (as written, one per axis, to iOS 16)."""
    return x.reshape([x.shape[i] if side == 0 else side for i, side in enumerate(shape)])


@kernel(since="CoreML7", stored=True)
def reshape__from_ios17(*, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """X in another shape; -1 is what is left, 0 the side of x at that place from the right, or 1."""
    behind = len(shape) - x.ndim
    sides = [
        side if side else (x.shape[i - behind] if i >= behind and x.ndim else 1)
        for i, side in enumerate(shape)
    ]
    return x.reshape(sides)


@kernel(since="CoreML6", stored=True)
def reshape_like(
    *, x: Tensor, ref_tensors: list[Tensor], begins: list[Tensor], ends: list[Tensor], end_masks: list[Tensor]
) -> Tensor:
    """X in the shape that slices of the references' shapes make, one after another."""
    shape: list[int] = []
    for reference, begin, end, is_whole in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += reference.shape[int(begin) :] if is_whole else reference.shape[int(begin) : int(end)]
    return x.reshape(shape)


@kernel(stored=True)
def transpose(*, x: Tensor, perm: tuple[int, ...]) -> Tensor:
    """Axis i of the result is axis perm[i] of x."""
    return x.permute(perm)


@kernel(stored=True)
def expand_dims(*, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """X with axes of length 1 put in; `axes` count in the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@kernel(stored=True)
def squeeze(*, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """X without axes of length 1, all of them by default."""
    return x.squeeze() if axes is None else x.squeeze(axes)


@kernel(stored=True)
def flatten2d(*, x: Tensor, axis: int = 1) -> Tensor:
    """Two axes: what lies before `axis`, and the rest."""
    lead = x.shape[: axis if axis >= 0 else axis + x.ndim]
    return x.reshape(lead.numel(), -1)


@kernel(stored=True)
def concat(*, values: list[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """The values one after another along `axis`, or by turns; scalars make a vector."""
    if not values[0].ndim:
        return torch.stack(values)
    if not interleave:
        return torch.cat(values, axis)
    axis %= values[0].ndim
    return torch.stack(values, axis + 1).flatten(axis, axis + 1)


@kernel(stored=True)
def stack(*, values: list[Tensor], axis: int) -> Tensor:
    """The values along a new axis."""
    return torch.stack(values, axis)


@kernel(stored=True)
def split(
    *, x: Tensor, num_splits: int | None = None, split_sizes: tuple[int, ...] | None = None, axis: int
) -> tuple[Tensor, ...]:
    """Parts of x along `axis`, of the given sizes or so many of the same size."""
    if split_sizes is not None:
        return torch.split(x, list(split_sizes), axis)
    if num_splits is None or x.shape[axis] % num_splits:
        raise ValueError(f"{x.shape[axis]} elements cannot be split into {num_splits}")
    return torch.split(x, x.shape[axis] // num_splits, axis)


@kernel(stored=True)
def tile(*, x: Tensor, reps: tuple[int, ...]) -> Tensor:
    """X repeated along each axis."""
    return x.tile(reps)


@kernel(stored=True)
def reverse(*, x: Tensor, axes: tuple[int, ...] | None = None) -> Tensor:
    """X backwards along `axes`, all by default."""
    return x.flip(axes if axes is not None else tuple(range(x.ndim)))


@kernel()
def pad(*, x: Tensor, pad: tuple[int, ...], mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """X padded (before, after) along its last axes: by a constant, mirrored without the edge, or by the edge.

    Along any number of axes at once, axis by axis: each takes its new elements from what is there already.
    """
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return F.pad(x, [side for pair in reversed(pairs) for side in pair], value=constant_val)
    if mode not in ("reflect", "replicate"):
        raise ValueError(f"unknown pad mode {mode!r}")
    for axis, (before, after) in enumerate(pairs, start=x.ndim - len(pairs)):
        last = x.shape[axis] - 1
        place = torch.arange(-before, last + 1 + after)
        if mode == "reflect":
            if max(before, after) > last:
                raise ValueError(f"cannot mirror {max(before, after)} of {last + 1} elements")
            place = last - (last - place.abs()).abs()
        x = x.index_select(axis, place.clamp(0, last))
    return x


@kernel(stored=True)
def pixel_shuffle(*, x: Tensor, upscale_factor: int) -> Tensor:
    """(N, C f f, H, W) to (N, C, H f, W f); channel (c, i, j) goes to row i, column j of the block."""
    return F.pixel_shuffle(x, upscale_factor)


@kernel(since="CoreML6", stored=True)
def pixel_unshuffle(*, x: Tensor, downscale_factor: int) -> Tensor:
    """What `pixel_shuffle` did, undone."""
    return F.pixel_unshuffle(x, downscale_factor)


@kernel(stored=True)
def depth_to_space(*, x: Tensor, block_size: int) -> Tensor:
    """(N, b b C, H, W) to (N, C, H b, W b); channel (i, j, c) goes to row i, column j, as in TensorFlow."""
    n, c, h, w = x.shape
    b = block_size
    return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)


@kernel(stored=True)
def space_to_depth(*, x: Tensor, block_size: int) -> Tensor:
    """What `depth_to_space` did, undone."""
    n, c, h, w = x.shape
    b = block_size
    return (
        x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4).reshape(n, c * b**2, h // b, w // b)
    )


@kernel(stored=True)
def space_to_batch(*, x: Tensor, block_shape: tuple[int, ...], paddings: Tensor) -> Tensor:
    """Blocks of the zero-padded spatial axes on the batch axis; the place within the block varies slowest."""
    (top, bottom), (left, right) = paddings.tolist()
    x = F.pad(x, [left, right, top, bottom])
    n, c, h, w = x.shape
    bh, bw = block_shape
    x = x.reshape(n, c, h // bh, bh, w // bw, bw).permute(3, 5, 0, 1, 2, 4)
    return x.reshape(n * bh * bw, c, h // bh, w // bw)


@kernel(stored=True)
def batch_to_space(*, x: Tensor, block_shape: tuple[int, ...], crops: Tensor) -> Tensor:
    """What `space_to_batch` did, undone; `crops` are cut off."""
    (top, bottom), (left, right) = crops.tolist()
    bh, bw = block_shape
    n, c, h, w = x.shape[0] // (bh * bw), *x.shape[1:]
    x = x.reshape(bh, bw, n, c, h, w).permute(2, 3, 4, 0, 5, 1).reshape(n, c, h * bh, w * bw)
    return x[:, :, top : h * bh - bottom, left : w * bw - right]


@kernel(stored=True)
def sliding_windows(*, x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """Windows of `size` along `axis`: that axis becomes (windows, size)."""
    return x.unfold(axis, size, stride).movedim(-1, axis % x.ndim + 1)
