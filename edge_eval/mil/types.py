"""What MIL calls a type: an element type and a shape, some sides of which are only known at run time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True)
class ElementType:
    """How elements of one MIL type are held here.

    Attributes:
        torch: type of the tensor that holds them; a sub-byte type is held one element per byte.
        numpy: the same for arrays at the edge of the machine.
        read: method of coremltools' blob reader that reads them, where weight files can hold them.
    """

    torch: torch.dtype
    numpy: Any
    read: str | None = None


ELEMENT_TYPES: dict[str, ElementType] = {
    "float16": ElementType(torch=torch.float16, numpy=np.float16, read="read_fp16_data"),
    "float32": ElementType(torch=torch.float32, numpy=np.float32, read="read_float_data"),
    "int8": ElementType(torch=torch.int8, numpy=np.int8, read="read_int8_data"),
    "uint8": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint8_data"),
    "int16": ElementType(torch=torch.int16, numpy=np.int16, read="read_int16_data"),
    "uint16": ElementType(torch=torch.uint16, numpy=np.uint16, read="read_uint16_data"),
    "int32": ElementType(torch=torch.int32, numpy=np.int32, read="read_int32_data"),
    "uint32": ElementType(torch=torch.uint32, numpy=np.uint32, read="read_uint32_data"),
    "int64": ElementType(torch=torch.int64, numpy=np.int64),
    "bool": ElementType(torch=torch.bool, numpy=np.bool_),
    "int4": ElementType(torch=torch.int8, numpy=np.int8, read="read_int4_data"),
    "uint1": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint1_data"),
    "uint2": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint2_data"),
    "uint3": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint3_data"),
    "uint4": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint4_data"),
    "uint6": ElementType(torch=torch.uint8, numpy=np.uint8, read="read_uint6_data"),
}
SHORT_NAMES = {"fp16": "float16", "fp32": "float32"}
"""Names that MIL's `dtype` inputs use where they differ from the type's own name."""

SUB_BYTE_BITS = {"int4": 4, "uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6}


def torch_type(name: str) -> torch.dtype:
    """The torch type behind a name that a MIL `dtype` input may hold, such as `fp16` or `int32`."""
    return ELEMENT_TYPES[SHORT_NAMES.get(name, name)].torch


@dataclass(frozen=True, kw_only=True)
class ValueType:
    """The declared type of a value.

    Attributes:
        element: key of `ELEMENT_TYPES`, or another MIL name (`string`, `list`, `state`) for no tensor.
        shape: sides, None where only known at run time; None where even the rank is.
    """

    element: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.element} of any shape"
        return f"{self.element} ({', '.join('?' if side is None else str(side) for side in self.shape)})"

    def mismatch(self, tensor: torch.Tensor) -> str | None:
        """What `tensor` is instead, or None where it is of this type."""
        element = ELEMENT_TYPES.get(self.element)
        same = element is not None and element.torch == tensor.dtype
        if same and (self.shape is None or fits(tuple(tensor.shape), self.shape)):
            return None
        return f"{str(tensor.dtype).removeprefix('torch.')} ({', '.join(map(str, tensor.shape))})"


def fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    """Whether `shape` has the declared rank and the declared sides."""
    return len(shape) == len(declared) and all(
        d is None or d == s for s, d in zip(shape, declared, strict=True)
    )
