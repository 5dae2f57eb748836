"""Functions of two or three tensors, element by element, shapes broadcast."""

import torch

from ..registry import Tensor, kernel


@kernel()
def add(*, x: Tensor, y: Tensor) -> Tensor:
    """X + y."""
    return x + y


@kernel()
def sub(*, x: Tensor, y: Tensor) -> Tensor:
    """X - y."""
    return x - y


@kernel()
def mul(*, x: Tensor, y: Tensor) -> Tensor:
    """X * y."""
    return x * y


@kernel()
def real_div(*, x: Tensor, y: Tensor) -> Tensor:
    """X / y, for floats; what integers give is not documented."""
    if not x.is_floating_point():
        raise ValueError("real_div of integers is not documented")
    return x / y


@kernel()
def floor_div(*, x: Tensor, y: Tensor) -> Tensor:
    """The next integer below x / y."""
    return torch.div(x, y, rounding_mode="floor")


@kernel()
def mod(*, x: Tensor, y: Tensor) -> Tensor:
    """X - y * floor(x / y): it has the sign of y."""
    return torch.remainder(x, y)


@kernel()
def pow_(*, x: Tensor, y: Tensor) -> Tensor:
    """X to the power of y."""
    return torch.pow(x, y)


@kernel()
def maximum(*, x: Tensor, y: Tensor) -> Tensor:
    """The larger one."""
    return torch.maximum(x, y)


@kernel()
def minimum(*, x: Tensor, y: Tensor) -> Tensor:
    """The smaller one."""
    return torch.minimum(x, y)


@kernel()
def equal(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x = y."""
    return x == y


@kernel()
def not_equal(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x and y differ."""
    return x != y


@kernel()
def greater(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x > y."""
    return x > y


@kernel()
def greater_equal(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x >= y."""
    return x >= y


@kernel()
def less(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x < y."""
    return x < y


@kernel()
def less_equal(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether x <= y."""
    return x <= y


@kernel()
def logical_and(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether both are true."""
    return torch.logical_and(x, y)


@kernel()
def logical_or(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether one is true."""
    return torch.logical_or(x, y)


@kernel()
def logical_xor(*, x: Tensor, y: Tensor) -> Tensor:
    """Whether exactly one is true."""
    return torch.logical_xor(x, y)


@kernel(stored=True)
def select(*, cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A where cond is true, else b."""
    return torch.where(cond, a, b)
