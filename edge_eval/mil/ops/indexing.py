"""Slices, gathers, scatters and sorting."""

import torch

from ..registry import Tensor, kernel
from ..types import torch_type

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _places(
    x: Tensor, begin: Tensor, end: Tensor, stride: Tensor | None, masks: tuple[Tensor | None, ...]
) -> list[range]:
    """The elements that a slice takes along each axis; `masks` are those for begin, end and squeeze."""
    begins, ends = begin.tolist(), end.tolist()
    steps = stride.tolist() if stride is not None else [1] * x.ndim
    open_begin, open_end, single = ([False] * x.ndim if m is None else m.tolist() for m in masks)
    places = []
    for axis, side in enumerate(x.shape):
        if single[axis]:
            first = range(side)[0 if open_begin[axis] else begins[axis]]
            places.append(range(first, first + 1))
            continue
        begun = None if open_begin[axis] else begins[axis]
        last = None if open_end[axis] else ends[axis]
        places.append(range(*slice(begun, last, steps[axis]).indices(side)))
    return places


def _single_axes(squeeze_mask: Tensor | None) -> list[int]:
    return (
        [axis for axis, single in enumerate(squeeze_mask.tolist()) if single]
        if squeeze_mask is not None
        else []
    )


@kernel(stored=True)
def slice_by_index(
    *,
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """x[begin:end:stride] along each axis as in numpy; masks open an end, or drop the axis of one element."""
    result = x
    for axis, place in enumerate(_places(x, begin, end, stride, (begin_mask, end_mask, squeeze_mask))):
        if place.step == 1 and len(place):
            result = result.narrow(axis, place.start, len(place))
        else:
            result = result.index_select(axis, torch.tensor(list(place), dtype=torch.long))
    return result.squeeze(_single_axes(squeeze_mask)) if squeeze_mask is not None else result


@kernel(since="CoreML8", stored=True)
def slice_update(
    *,
    x: Tensor,
    update: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    """X with the elements that `slice_by_index` would take replaced by `update`."""
    places = _places(x, begin, end, stride, (begin_mask, end_mask, squeeze_mask))
    result = x.clone()
    result[torch.meshgrid([torch.tensor(list(p)) for p in places], indexing="ij")] = update.reshape(
        [len(p) for p in places]
    )
    return result


@kernel(stored=True)
def slice_by_size(*, x: Tensor, begin: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    """`size` elements from `begin` on along each axis; -1 is all that are left."""
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        start = first % x.shape[axis]
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


def _wrapped(indices: Tensor, side: int) -> Tensor:
    """Indices with negative ones counted from the end."""
    wide = indices.long()
    return torch.where(wide < 0, wide + side, wide)


@kernel(stored=True)
def gather(
    *, x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """The elements of x at `indices` along `axis`; `batch_dims` axes go together. Bounds are checked."""
    axis %= x.ndim
    if not batch_dims:
        flat = _wrapped(indices, x.shape[axis]).reshape(-1)
        return x.index_select(axis, flat).reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    parts = [
        gather(x=part, indices=index, axis=axis - 1, batch_dims=batch_dims - 1)
        for part, index in zip(x, indices, strict=True)
    ]
    return torch.stack([part for part in parts if isinstance(part, Tensor)])


@kernel(stored=True)
def gather_along_axis(*, x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """The element of x at each place of `indices`, the index taken for `axis`."""
    return torch.gather(x, axis, _wrapped(indices, x.shape[axis]))


@kernel(stored=True)
def gather_nd(*, x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """The slices of x at the tuples in the last axis of `indices`; `batch_dims` axes go together."""
    if batch_dims:
        parts = [
            gather_nd(x=part, indices=index, batch_dims=batch_dims - 1)
            for part, index in zip(x, indices, strict=True)
        ]
        return torch.stack([part for part in parts if isinstance(part, Tensor)])
    return x[tuple(indices.long().movedim(-1, 0))]


def _scattered(data: Tensor, places: Tensor, updates: Tensor, axis: int, mode: str) -> Tensor:
    """`data` with `updates` put in, or combined in, at `places` along `axis`; all of one rank.

    Raises:
        ValueError: unknown mode.
    """
    index = _wrapped(places, data.shape[axis])
    if mode == "update":
        return data.scatter(axis, index, updates)
    if mode == "sub":
        return data.scatter_reduce(axis, index, -updates, "sum")
    if mode == "div":
        return data.scatter_reduce(axis, index, updates.reciprocal(), "prod")
    if mode not in REDUCTIONS:
        raise ValueError(f"unknown scatter mode {mode!r}")
    return data.scatter_reduce(axis, index, updates, REDUCTIONS[mode])


@kernel()
def scatter_along_axis(
    *,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """What `gather_along_axis` reads, written: `updates` combined with data by `mode`."""
    return _scattered(data, indices, updates, axis, mode)


@kernel()
def scatter(
    *,
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """What `gather` reads at a vector of `indices`, written: `updates` combined with data by `mode`."""
    shape = [-1 if i == axis % data.ndim else 1 for i in range(data.ndim)]
    return _scattered(data, indices.reshape(shape).expand(updates.shape), updates, axis, mode)


@kernel()
def scatter_nd(
    *, data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """What `gather_nd` reads, written: slices of `updates` combined with data by `mode`."""
    depth = indices.shape[-1]
    place = torch.zeros(indices.shape[:-1], dtype=torch.long)
    for axis in range(depth):
        place = place * data.shape[axis] + _wrapped(indices[..., axis], data.shape[axis])
    rows = data.reshape(data.shape[:depth].numel(), -1)
    changes = updates.reshape(place.numel(), -1)
    index = place.reshape(-1, 1).expand(changes.shape)
    return _scattered(rows, index, changes, 0, mode).reshape(data.shape)


@kernel(stored=True)
def topk(
    *,
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """The k largest elements along `axis` (or smallest), and where they are; always sorted here."""
    values, places = torch.topk(x, k, axis, largest=not ascending, sorted=True)
    return (values, places.to(torch_type(output_indices_dtype))) if return_indices else (values,)


@kernel(stored=True)
def argsort(*, x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """Where the elements are in descending order, or ascending; equal ones stay in order."""
    return torch.sort(x, dim=axis, descending=not ascending, stable=True).indices.int()


@kernel(stored=True)
def non_zero(*, x: Tensor) -> Tensor:
    """The index tuples of all elements that are not 0, (N, rank)."""
    return torch.nonzero(x).int()
