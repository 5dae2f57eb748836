"""Functions of one tensor, element by element."""

import torch

from ..registry import Tensor, kernel
from ..types import torch_type


@kernel()
def abs_(*, x: Tensor) -> Tensor:
    """The absolute value."""
    return torch.abs(x)


@kernel()
def acos(*, x: Tensor) -> Tensor:
    """The arc cosine."""
    return torch.acos(x)


@kernel()
def asin(*, x: Tensor) -> Tensor:
    """The arc sine."""
    return torch.asin(x)


@kernel()
def atan(*, x: Tensor) -> Tensor:
    """The arc tangent."""
    return torch.atan(x)


@kernel()
def atanh(*, x: Tensor) -> Tensor:
    """The inverse hyperbolic tangent."""
    return torch.atanh(x)


@kernel()
def ceil(*, x: Tensor) -> Tensor:
    """The next integer above."""
    return torch.ceil(x)


@kernel()
def clip(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    """X between alpha and beta."""
    return x.clamp(alpha, beta)


@kernel()
def cos(*, x: Tensor) -> Tensor:
    """The cosine."""
    return torch.cos(x)


@kernel()
def cosh(*, x: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return torch.cosh(x)


@kernel()
def erf(*, x: Tensor) -> Tensor:
    """The Gauss error function."""
    return torch.erf(x)


@kernel()
def exp(*, x: Tensor) -> Tensor:
    """E to the power of x."""
    return torch.exp(x)


@kernel()
def exp2(*, x: Tensor) -> Tensor:
    """2 to the power of x; integers stay integers."""
    return torch.exp2(x) if x.is_floating_point() else torch.exp2(x.double()).to(x.dtype)


@kernel()
def floor(*, x: Tensor) -> Tensor:
    """The next integer below."""
    return torch.floor(x)


@kernel()
def inverse(*, x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return torch.reciprocal(x + epsilon)


@kernel()
def log(*, x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """The natural logarithm of x + epsilon."""
    return torch.log(x + epsilon)


@kernel()
def logical_not(*, x: Tensor) -> Tensor:
    """Whether x is false."""
    return torch.logical_not(x)


@kernel()
def round_(*, x: Tensor) -> Tensor:
    """The nearest integer, half to even."""
    return torch.round(x)


@kernel()
def rsqrt(*, x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


@kernel()
def sign(*, x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return torch.sign(x)


@kernel()
def sin(*, x: Tensor) -> Tensor:
    """The sine."""
    return torch.sin(x)


@kernel()
def sinh(*, x: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return torch.sinh(x)


@kernel()
def sqrt(*, x: Tensor) -> Tensor:
    """The square root."""
    return torch.sqrt(x)


@kernel()
def square(*, x: Tensor) -> Tensor:
    """X times x."""
    return x * x


@kernel()
def tan(*, x: Tensor) -> Tensor:
    """The tangent."""
    return torch.tan(x)


@kernel()
def threshold(*, x: Tensor, alpha: float) -> Tensor:
    """max(x, alpha)."""
    return x.clamp(min=alpha)


@kernel(stored=True)
def cast(*, x: Tensor, dtype: str) -> Tensor:
    """X in another type: rounded half to even to fewer bits of float, cut toward zero to integers."""
    return x.to(torch_type(dtype))


@kernel(stored=True)
def identity(*, x: Tensor) -> Tensor:
    """X."""
    return x
