"""A quantized network whose weights, biases and scales are parameters: what QAT and PTQ's search train.

Layers differ in weight scale by 45 times, so nothing is trained in its own unit: weights are in integer steps
of their channel, biases in integer steps of their output, scales are logarithms. One step size of Adam then
fits all layers.
"""

from collections.abc import Set
from dataclasses import replace

import torch
from torch import Tensor, nn

from .fake import fake_round, straight_through
from .graph import IMAGE, Node, SpanNodes, key
from .kernels import TrainedName, trained_as
from .ptq import Start, assemble, fixed_names, one_scale
from .quantized import Provenance, QParams, QuantizedSpan, QWeight
from .recipe import Recipe
from .rewrite import MASKS
from .rounding import LIMIT
from .scales import RELABELS, relabelled
from .simulation import simulate


class TrainableSpan(nn.Module):
    """A network that trains under fake quantization and validates in the integers' exact arithmetic.

    In training mode every tensor is rounded as the integer kernels round it, but the output pixels, which are
    only clipped; in eval mode the output is that of `simulate` on the integers as they are now.

    Attributes:
        start: where training starts; not changed.
        recipe: of the numbers.
        kernels: by `key(node)`: a convolution's weights in integer steps of their channel.
        biases: likewise: its bias in integer steps of its output.
        log_weight_scales: likewise: logarithms of its weights' steps, per output channel.
        log_scales: logarithms of the tensors' steps, in the order of `learned_tensors`.
    """

    def __init__(
        self, start: Start, recipe: Recipe, *, trained: TrainedName = "folded", seed: int = 0
    ) -> None:
        super().__init__()
        self.start, self.recipe = start, recipe
        fixed = fixed_names(start.nodes)
        learned = {key(name): name for name in start.weights if name not in fixed}
        self.kernels = nn.ModuleDict(
            {
                at: trained_as(trained, start.weights[name].values.float(), seed=seed + number)
                for number, (at, name) in enumerate(learned.items())
            }
        )
        self.biases = nn.ParameterDict(
            {at: start.weights[name].bias / self._bias_step(name) for at, name in learned.items()}
        )
        self.log_weight_scales = nn.ParameterDict(
            {at: start.weights[name].scale.log() for at, name in learned.items()}
        )
        self._same = one_scale(start.nodes)
        self.learned_tensors = tuple(
            name for name in start.activations if name not in fixed and name not in self._same
        )
        scales = [start.activations[name].scale for name in self.learned_tensors]
        logs = torch.tensor(scales, dtype=torch.float64).log().float()
        self.log_scales = nn.Parameter(logs, requires_grad=bool(scales))
        self._images = {name: parts for name in start.weights if (parts := _image_parts(start.nodes, name))}
        self._hold(fixed)
        self._unrounded, self._pixels = _exact_tensors(start) - {*self.learned_tensors}, _pixels(start.nodes)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, C_out, s*H, s*W), in [0, 1] where pixels are integers."""
        if not self.training:
            return simulate(self.quantized(), lr_nchw)
        rounding = self._roundings()

        def tensor(name: str, value: Tensor) -> Tensor:
            if name not in self.start.activations or name in self._unrounded:
                return value
            if name in self._pixels:
                return value.float().clamp(0, 1)
            qparams, (scale, log_scale) = self.start.activations[name], rounding[name]
            low, high = (limit - qparams.zero_point for limit in (qparams.quant_min, qparams.quant_max))
            return fake_round(value, scale=scale, low=low, high=high, log_scale=log_scale)

        lr_nchw = lr_nchw.contiguous(memory_format=torch.channels_last)
        return self.start.nodes.run(lr_nchw, compute=self._compute, tensor=tensor)

    def _compute(self, node: Node, given: list[Tensor]) -> Tensor:
        if node.name not in self._images:
            return self.start.nodes.compute(node, given, weight=self.weight)
        (joined,), (kernel, bias) = given, self.weight(node.name)
        device, made = joined.device.type, bias.view(-1, 1, 1)
        autocast = torch.is_autocast_enabled(device)
        for at, exact in self._images[node.name]:
            channels = joined[:, at].float() if exact else joined[:, at]
            with torch.autocast(device, enabled=autocast and not exact):
                made = made + self.start.nodes.convolve(node, channels, kernel[:, at], None)
        return made

    def _hold(self, fixed: Set[str]) -> None:
        """Keep what training reads and does not change where the parameters are, out of the saved state."""
        paced = set()
        for name, stored in self.start.weights.items():
            held = {}
            if name in fixed:
                held = {"fixed_kernel": stored.kernel(), "fixed_bias": stored.bias.clone()}
            elif (pace := _beside_image(self.start, name)) is not None:
                held = {"pace": pace, "first": stored.values.float()}
                paced.add(name)
            for kind, tensor in held.items():
                self.register_buffer(f"{kind}_{key(name)}", tensor, persistent=False)
        self._paced = frozenset(paced)

    def _roundings(self) -> dict[str, tuple[Tensor | float, Tensor | None]]:
        """Every tensor's step, and the parameter that gets its gradient; nothing is read from the device."""
        found: dict[str, tuple[Tensor | float, Tensor | None]] = {
            name: (qparams.scale, None) for name, qparams in self.start.activations.items()
        }
        steps, logs = self.log_scales.detach().exp().unbind(), self.log_scales.unbind()
        found |= {name: (steps[i], logs[i]) for i, name in enumerate(self.learned_tensors)}
        return found | {name: found[first] for name, first in self._same.items() if first in found}

    def weight(self, name: str) -> tuple[Tensor, Tensor]:
        """A convolution's kernel and bias as training computes with them."""
        if key(name) not in self.kernels:
            return self.get_buffer(f"fixed_kernel_{key(name)}"), self.get_buffer(f"fixed_bias_{key(name)}")
        integers = straight_through(self._steps(name)).clamp(-LIMIT, LIMIT)
        scale = self.log_weight_scales[key(name)].exp()
        return integers * scale.view(-1, 1, 1, 1), self.biases[key(name)] * self._bias_step(name)

    def _steps(self, name: str) -> Tensor:
        """A convolution's weights in integer steps of their channel."""
        now: Tensor = self.kernels[key(name)]()
        if name not in self._paced:
            return now
        first = self.get_buffer(f"first_{key(name)}")
        return first + self.get_buffer(f"pace_{key(name)}") * (now - first)

    def _bias_step(self, name: str) -> float:
        """What a bias is counted in: the output's integer step, or a 127th of the mean bias without one."""
        if name in self.start.activations:
            return self.start.activations[name].scale
        return max(float(self.start.weights[name].bias.abs().mean()), 1e-6) / LIMIT

    @torch.no_grad()
    def quantized(self, provenance: Provenance | None = None) -> QuantizedSpan:
        """The integers and scales as they are now, on the parameters' device."""
        weights = {}
        for name, stored in self.start.weights.items():
            weights[name] = _moved(stored, self.log_scales.device)
            if key(name) in self.kernels:
                values = self._steps(name).round().clamp(-LIMIT, LIMIT).to(torch.int8)
                scale = self.log_weight_scales[key(name)].exp()
                bias = self.biases[key(name)] * self._bias_step(name)
                weights[name] = QWeight(values=values, scale=scale, bias=bias)
        now = replace(self.start, weights=weights, activations=self.activations())
        return replace(assemble(now, self.recipe, provenance or Provenance()), method="qat")

    def activations(self) -> dict[str, QParams]:
        """The tensors' scales as they are now."""
        steps = self.log_scales.detach().exp().tolist()
        learned = {
            name: replace(self.start.activations[name], scale=step)
            for name, step in zip(self.learned_tensors, steps, strict=True)
        }
        found = {**self.start.activations, **learned}
        found |= {name: found[first] for name, first in self._same.items() if first in found}
        for node in self.start.nodes.nodes:
            if node.op in ("group", "times") and node.name in found:
                found[node.name] = relabelled(node, found[node.inputs[0]])
        return found


def _moved(weight: QWeight, device: torch.device) -> QWeight:
    return QWeight(
        values=weight.values.to(device), scale=weight.scale.to(device), bias=weight.bias.to(device)
    )


def _image_parts(nodes: SpanNodes, name: str) -> list[tuple[slice, bool]]:
    """The channels that a convolution of the image reads, and which of them are the image's, or a copy.

    What it makes of these in a flat area goes straight to the result: bfloat16, with its eight bits, would
    shift whole areas by up to half a grey level in training, and training would learn to undo what no file
    does. So they are convolved in float32, and what is joined with them is not.

    Returns:
        an empty list where it reads no image.
    """
    parts = [(at, part in (IMAGE, *MASKS)) for part, at in nodes.parts(nodes.input_of(name)).items()]
    return parts if any(exact for _, exact in parts) else []


def _beside_image(start: Start, name: str) -> Tensor | None:
    """How fast a convolution's weights move, per input, where it reads the image beside other channels.

    The image reaches from end to end of its range, and over whole areas: equal steps of Adam there would make
    pictures lighter and darker each time, so those weights stay. Where they are the
    largest, they set the others' integer step, and these move by as much less as their own is finer.

    Returns:
        (1, I, 1, 1); None where there is no image.
    """
    parts = start.nodes.parts(start.nodes.input_of(name))
    images = [parts[mask] for mask in MASKS if mask in parts and len(parts) > 1]
    if not images:
        return None
    largest = start.weights[name].values.abs().amax((0, 2, 3)).float()
    pace = torch.ones(1, len(largest), 1, 1)
    for at in images:
        pace[:, at], largest[at] = 0.0, 0.0
    return pace * float(largest.max()) / LIMIT


def _pixels(nodes: SpanNodes) -> frozenset[str]:
    """The output pixels: the last tensor, and before it what only changes its shape."""
    names = [nodes.nodes[-1].name]
    while nodes.op_of(names[-1]) == "pixel_shuffle":
        names += [node.inputs[0] for node in nodes.nodes if node.name == names[-1]]
    return frozenset(names)


def _exact_tensors(start: Start) -> frozenset[str]:
    """Tensors that their integers hold exactly: the image, and what keeps or joins the integers of others."""
    exact = {IMAGE}
    for node in start.nodes.nodes:
        qparams = [start.activations.get(name) for name in (node.name, *node.inputs)]
        scales = {None if one is None else one.scale for one in qparams}
        same = node.op in ("group", "times") or (node.op in (*RELABELS, "concat") and len(scales) == 1)
        if same and None not in scales:
            exact.add(node.name)
    return frozenset(exact)
