"""The `constexpr_*` operations: weights stored in fewer bits, made whole when the program is loaded."""

import math

import torch

from ..registry import Tensor, kernel
from ..types import torch_type
from .quantization import along_axis


@kernel(since="CoreML6", stored=True)
def constexpr_affine_dequantize(
    *, quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int
) -> Tensor:
    """Scale * (data - zero_point), scalars or vectors over `axis`, rounded once to the type of the scale."""
    steps = quantized_data.float() - along_axis(zero_point.float(), quantized_data, axis)
    return (steps * along_axis(scale.float(), quantized_data, axis)).to(scale.dtype)


@kernel(since="CoreML6", stored=True)
def constexpr_cast(*, source_val: Tensor, output_dtype: str) -> Tensor:
    """The value in another type."""
    return source_val.to(torch_type(output_dtype))


@kernel(since="CoreML6", stored=True)
def constexpr_lut_to_dense(*, indices: Tensor, lut: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Values looked up; `indices` are packed in log2(table size) bits each, lowest bit first."""
    return lut[_unpacked(indices, lut.shape[0].bit_length() - 1, math.prod(shape))].reshape(shape)


@kernel(since="CoreML8", stored=True)
def constexpr_lut_to_dense__from_ios18(
    *, indices: Tensor, lut: Tensor, vector_axis: int | None = None
) -> Tensor:
    """Values or vectors looked up, a table per block; lut is (blocks along each axis, table size, vector)."""
    rank = indices.ndim
    tables = lut
    for axis in range(rank):
        tables = tables.repeat_interleave(indices.shape[axis] // lut.shape[axis], axis)
    index = indices.long()[..., None, None].expand(*indices.shape, 1, lut.shape[-1])
    vectors = torch.gather(tables, rank, index).squeeze(rank)
    if vector_axis is None or lut.shape[-1] == 1:
        return vectors.squeeze(-1)
    axis = vector_axis % rank
    return vectors.movedim(-1, axis + 1).flatten(axis, axis + 1)


@kernel(since="CoreML6", stored=True)
def constexpr_sparse_to_dense(*, nonzero_data: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The data where the mask has a 1, else 0; the mask is packed, lowest bit of the first byte first."""
    return _spread(nonzero_data, _unpacked(mask, 1, math.prod(shape)).reshape(shape))


@kernel(since="CoreML8", stored=True)
def constexpr_sparse_to_dense__from_ios18(*, nonzero_data: Tensor, mask: Tensor) -> Tensor:
    """The data where the mask has a 1, else 0; the mask has the shape of the result."""
    return _spread(nonzero_data, mask)


@kernel(since="CoreML8", stored=True)
def constexpr_blockwise_shift_scale(*, data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """Scale * (data - offset), one of each per block, rounded once to the type of the scale."""
    steps = data.float()
    if offset is not None:
        steps = steps - _blocks(offset.float(), data)
    return (steps * _blocks(scale.float(), data)).to(scale.dtype)


@kernel(since="CoreML8", stored=True)
def constexpr_lut_to_sparse(
    *, indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """The mask and the data of a sparse weight whose data are looked up, for one table of single values."""
    if lut.numel() != lut.shape[-2]:
        raise ValueError("only one table of single values is emulated for sparse weights")
    return indices_mask, lut.reshape(-1)[indices_nonzero_data.long()]


@kernel(since="CoreML8", stored=True)
def constexpr_sparse_blockwise_shift_scale(
    *, data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The mask and the data of a sparse weight whose data are dequantized, one scale per block."""
    held = data_mask.bool()
    steps = nonzero_data.float()
    if offset is not None:
        steps = steps - _blocks(offset.float(), data_mask)[held]
    return data_mask, (steps * _blocks(scale.float(), data_mask)[held]).to(scale.dtype)


def _blocks(parameter: Tensor, data: Tensor) -> Tensor:
    """One parameter per block, repeated so that there is one per element of `data`."""
    for axis in range(data.ndim):
        parameter = parameter.repeat_interleave(data.shape[axis] // parameter.shape[axis], axis)
    return parameter


def _unpacked(packed: Tensor, bits: int, count: int) -> Tensor:
    """`count` unsigned numbers of `bits` bits, from bytes filled from the lowest bit up."""
    planes = (packed.long()[:, None] >> torch.arange(8)) & 1
    return planes.reshape(-1)[: count * bits].reshape(count, bits) @ (1 << torch.arange(bits))


def _spread(nonzero_data: Tensor, mask: Tensor) -> Tensor:
    dense = torch.zeros(mask.shape, dtype=nonzero_data.dtype)
    dense[mask.bool()] = nonzero_data
    return dense
