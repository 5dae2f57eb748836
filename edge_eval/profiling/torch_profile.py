"""Time per layer of a network in PyTorch, by PyTorch's profiler."""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from models import load_checkpoint, reparameterize
from models.cost import layer_costs

from ..runtimes.pytorch import torch_threads

WHOLE = "network"


def profile_torch(
    path: Path, *, threads: int, input_hw: tuple[int, int], runs: int
) -> tuple[list[dict[str, Any]], float]:
    """Entries of `operations`, one per module and one for what its parent adds, and the total in ms.

    A module's time is its own; that of a block is what is left when its convolutions are taken off:
    activations, sums and products.
    """
    network = reparameterize(load_checkpoint(path).network)
    modules = {name: module for name, module in network.named_modules() if name}
    for name, module in modules.items():
        _mark(name, module)
    image = torch.rand(1, network.config.in_channels, *input_hw)
    with torch.inference_mode(), torch_threads(threads):
        network(image)
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            for _ in range(runs):
                with record_function(WHOLE):
                    network(image)
    times: dict[str, list[float]] = defaultdict(list)
    for event in recorded.events():
        if event.name == WHOLE or event.name in modules:
            times[event.name].append(event.time_range.elapsed_us() / 1e3)
    spent = {name: statistics.median(values) for name, values in times.items()}
    costs = {cost.name: cost for cost in layer_costs(network)}
    operations = []
    for name, total in spent.items():
        own = total - sum(spent[child] for child in _children(name, spent))
        cost = costs.get(name)
        pixels = input_hw[0] * input_hw[1]
        operations.append(
            {
                "name": f"{name} (rest)" if _children(name, spent) else name,
                "kind": type(modules[name]).__name__ if name in modules else type(network).__name__,
                "layer": name,
                "kernel": None,
                "ms": max(own, 0.0),
                "macs": pixels * cost.macs if cost else 0,
                "bytes": _bytes(cost.in_channels, cost.out_channels, pixels, cost.parameters)
                if cost
                else None,
                "delegated": None,
                "reason": None,
            }
        )
    return operations, spent[WHOLE]


def _children(name: str, spent: dict[str, float]) -> list[str]:
    """Direct parts that were timed."""
    inside = [other for other in spent if other != name and _is_inside(other, name)]
    return [one for one in inside if not any(_is_inside(one, other) for other in inside if other != one)]


def _is_inside(name: str, parent: str) -> bool:
    if name == WHOLE:
        return False
    return parent == WHOLE or name.startswith(f"{parent}.")


def _bytes(channels_in: int, channels_out: int, pixels: int, parameters: int) -> int:
    return 4 * (pixels * (channels_in + channels_out) + parameters)


def _mark(name: str, module: nn.Module) -> None:
    """Have the profiler record a module's runs under its name."""
    plain = module.forward

    def marked(*arguments: Any) -> Any:
        with record_function(name):
            return plain(*arguments)

    module.forward = marked
