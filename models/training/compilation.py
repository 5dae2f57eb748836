"""Compiling a network's forward and backward pass (torch.compile), so that passes over memory are fused."""

import functools
import re

import torch
from torch import Tensor, nn


def compiled(network: nn.Module) -> nn.Module:
    """The same network, sharing its parameters, compiled when it first runs; again for every other shape."""
    made = torch.compile(network, dynamic=False)
    assert isinstance(made, nn.Module)
    return made


@functools.cache
def why_not_compiled(device: str) -> str | None:
    """Why nothing can be compiled here; None where it can. Compiles a small function, which takes seconds.

    Args:
        device: `cpu` or `cuda`.
    """

    def small(value: Tensor) -> Tensor:
        return (2 * value.sin()).round()

    try:
        torch.compile(small)(torch.ones(8, device=device))
    except compilation_errors() as error:
        return reason(error)
    return None


def compilation_errors() -> tuple[type[Exception], ...]:
    """What torch raises where it cannot compile, or write what it compiled."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import CppCompileError

    return TorchDynamoException, CppCompileError, OSError


def reason(error: Exception) -> str:
    """The first line of what torch says, without the name of its own class."""
    return re.sub(r"^\w+: ", "", str(error).strip().partition("\n")[0])
