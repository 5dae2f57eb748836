"""One process or several by the same loop; several are Hugging Face Accelerate's work."""

import os
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import InputError


class Processes(Protocol):
    """The processes that share a training.

    Attributes:
        rank: number of this one; 0 writes files.
        world: how many there are.
        device: where this one's network and crops lie.
    """

    rank: int
    world: int
    device: torch.device

    def prepare(self, network: nn.Module) -> nn.Module:
        """`network` on `device`, wrapped so that backward averages gradients over the processes."""

    def sum(self, value: Tensor) -> Tensor:
        """The sum of `value` over the processes."""

    def from_first(self, value: Tensor) -> Tensor:
        """The first process's `value`."""


class Alone:
    """A single process."""

    rank = 0
    world = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def prepare(self, network: nn.Module) -> nn.Module:
        """`network` on the device."""
        return network.to(self.device)

    def sum(self, value: Tensor) -> Tensor:
        """`value`."""
        return value

    def from_first(self, value: Tensor) -> Tensor:
        """`value`."""
        return value


class Accelerated:
    """Processes started by `accelerate launch` or `torchrun`."""

    def __init__(self, *, cpu: bool) -> None:
        """Join the other processes.

        Raises:
            InputError: Accelerate is not installed.
        """
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise InputError(
                "training in several processes needs Hugging Face Accelerate: pip install 'span-edge[train]'"
            ) from error
        self._accelerator: Any = Accelerator(cpu=cpu)
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device

    def prepare(self, network: nn.Module) -> nn.Module:
        """`network` in DistributedDataParallel."""
        prepared: nn.Module = self._accelerator.prepare_model(network)
        return prepared

    def sum(self, value: Tensor) -> Tensor:
        """All-reduce."""
        total: Tensor = self._accelerator.reduce(value, reduction="sum")
        return total

    def from_first(self, value: Tensor) -> Tensor:
        """Broadcast."""
        from accelerate.utils import broadcast

        first: Tensor = broadcast(value)
        return first


def device_type(asked: str) -> str:
    """`cuda` or `cpu`: where training asked for `auto`, `cpu` or `cuda` runs."""
    return "cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu"


def open_processes(device: str = "auto") -> Processes:
    """The processes this one belongs to: itself alone, or those that a launcher started with it.

    What a GPU is asked to compute in float32 it does: by itself it would keep 10 bits of an image's numbers,
    and not every integer of a quantized network.

    Args:
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.

    Raises:
        InputError: a GPU is asked for and absent, or several processes and Accelerate is absent.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"there is no device {device!r}; give auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no GPU here; leave --device out, or install a build of torch with CUDA")
    torch.backends.cudnn.allow_tf32 = False
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Accelerated(cpu=device_type(device) == "cpu")
    return Alone(torch.device(device_type(device)))
