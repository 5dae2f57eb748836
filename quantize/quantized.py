"""A quantized network: integer weights, every tensor's scale and zero point, and their file."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from models.config import SpanConfig
from models.errors import InputError
from models.files import in_fixed_order, written_whole

from .graph import Node, OpName, SpanNodes, are_whole
from .recipe import RecipeName, recipe_named

IntName = Literal["int8", "int16"]
LIMITS: dict[IntName, tuple[int, int]] = {"int8": (-128, 127), "int16": (-32768, 32767)}
FINEST = 1024
"""Steps of a bias alone to one of its output."""

FILE_KIND = "span-edge quantized network"
FILE_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class QParams:
    """How the integers of a tensor stand for numbers: value = scale * (integer - zero_point)."""

    scale: float
    zero_point: int
    dtype: IntName = "int8"

    @property
    def quant_min(self) -> int:
        """The smallest integer."""
        return LIMITS[self.dtype][0]

    @property
    def quant_max(self) -> int:
        """The largest integer."""
        return LIMITS[self.dtype][1]

    @property
    def low(self) -> float:
        """The smallest number that can be stored."""
        return (self.quant_min - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The largest number that can be stored."""
        return (self.quant_max - self.zero_point) * self.scale

    def rounded(self, value: Tensor) -> Tensor:
        """`value` after being stored: the nearest number (half to even) that can be, same shape."""
        integer = torch.round(value / self.scale) + self.zero_point
        return (integer.clamp(self.quant_min, self.quant_max) - self.zero_point) * self.scale


@dataclass(frozen=True, kw_only=True)
class QWeight:
    """A convolution's integers.

    Attributes:
        values: int8, (O, I, k, k), in -127..127.
        scale: float32, (O,): kernel = values * scale per output channel.
        bias: float32, (O,). An integer kernel rounds it to input scale * weight scale, as int32 (int64 for
            16-bit inputs).
    """

    values: Tensor
    scale: Tensor
    bias: Tensor

    def kernel(self) -> Tensor:
        """The kernel that the integers stand for, float32."""
        return self.values.float() * self.scale.view(-1, 1, 1, 1)

    def integer_scale(self, source: QParams, out: QParams) -> Tensor:
        """The scale as an integer kernel has it, (O,), float32.

        That of a row of zeros says nothing of it and is but the grid of the bias: a `FINEST`th of the
        output's step.
        """
        zeros = ~self.values.flatten(1).any(dim=1)
        return torch.where(zeros, out.scale / source.scale / FINEST, self.scale)

    def integer_bias(self, source: QParams, scale: Tensor) -> Tensor:
        """The bias in steps of the input's scale, as float32, times `scale`: (O,), float64, whole numbers."""
        step = torch.tensor(source.scale, dtype=torch.float32).double().to(scale.device) * scale.double()
        return torch.round(self.bias.double() / step)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from.

    Attributes:
        source_name: name of the float checkpoint.
        source_sha256: its hash.
        effort: `fast` or `best`.
        seed: of everything drawn at random.
        images: how many calibration images.
        images_sha256: hash of their pixels, in order.
        steps: steps of training that were run.
        starts: how many starts were compared.
        start: number of the one that was kept, from 0.
    """

    source_name: str = ""
    source_sha256: str = ""
    effort: str = "fast"
    seed: int = 0
    images: int = 0
    images_sha256: str = ""
    steps: int = 0
    starts: int = 1
    start: int = 0

    @property
    def search(self) -> str:
        """How long the search was, for people."""
        starts = f"best of {self.starts} starts, " if self.starts > 1 else ""
        return f"effort {self.effort}, {starts}{self.steps} steps, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class QuantizedSpan:
    """A network, rewritten and quantized.

    Attributes:
        config: hyper-parameters of the float network.
        recipe: row of `RECIPES`.
        method: how the numbers were found.
        network: the rewritten nodes; its convolutions hold exactly the kernels that `weights` stand for.
        weights: integers of every convolution, by node name.
        activations: by tensor name, the image and the output included; tensors that are not here stay in
            floating point (all of them in `w8`; those between two nodes of `float_nodes` in `w8a8_mixed`).
        float_nodes: nodes computed in floating point (from dequantized weights) in `w8a8_mixed`.
        provenance: where the numbers come from.
    """

    config: SpanConfig
    recipe: RecipeName
    method: Literal["ptq", "qat"]
    network: SpanNodes
    weights: Mapping[str, QWeight]
    activations: Mapping[str, QParams]
    float_nodes: tuple[str, ...] = ()
    provenance: Provenance = Provenance()

    def is_integer(self, node: Node) -> bool:
        """Whether a node of `network` takes integers and gives integers."""
        names = (node.name, *node.inputs)
        return node.name not in self.float_nodes and all(name in self.activations for name in names)

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write it as safetensors: weights as tensors, everything else as JSON in the metadata.

        Raises:
            InputError: `path` exists and `overwrite` is false, or cannot be written.
        """
        from safetensors.torch import save

        tensors = {}
        for name, weight in self.weights.items():
            for part in ("values", "scale", "bias"):
                tensors[f"{name}.{part}"] = getattr(weight, part).contiguous()
        meta = {
            "config": self.config.to_json(),
            "recipe": self.recipe,
            "method": self.method,
            "nodes": [asdict(node) for node in self.network.nodes],
            "groups": {name: self.network.conv(name).groups for name in self.weights},
            "activations": {name: asdict(qparams) for name, qparams in self.activations.items()},
            "float_nodes": self.float_nodes,
            "provenance": asdict(self.provenance),
        }
        content = save(
            tensors, metadata={"kind": FILE_KIND, "version": FILE_VERSION, "quantized": json.dumps(meta)}
        )
        with written_whole(path, overwrite=overwrite) as scratch:
            # By Python and not by `save_file`, which lets nobody but the owner read what it writes.
            scratch.write_bytes(in_fixed_order(content))


def load_quantized(path: Path) -> QuantizedSpan:
    """The quantized network that `QuantizedSpan.save` wrote.

    Raises:
        InputError: the file cannot be read, or is something else, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path} as safetensors: {error}") from error
    if meta.get("kind") != FILE_KIND or meta.get("version") != FILE_VERSION:
        raise InputError(
            f"{path} is no quantized network of version {FILE_VERSION}; make one with 'span-edge quantize'"
        )
    try:
        return _from_parts(json.loads(meta["quantized"]), tensors)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} is damaged ({_in_short(error)}); make it again with 'span-edge quantize'"
        ) from error


def _from_parts(meta: dict[str, Any], tensors: dict[str, Tensor]) -> QuantizedSpan:
    weights = {
        name: QWeight(**{part: tensors[f"{name}.{part}"] for part in ("values", "scale", "bias")})
        for name in meta["groups"]
    }
    nodes = [Node(**{**node, "inputs": tuple(node["inputs"])}) for node in meta["nodes"]]
    convs = {name: plain_conv(weight, meta["groups"][name]) for name, weight in weights.items()}
    config = SpanConfig.from_json(meta["config"])
    made = QuantizedSpan(
        config=config,
        recipe=meta["recipe"],
        method=meta["method"],
        network=SpanNodes(config, nodes, convs).eval(),
        weights=weights,
        activations={name: QParams(**qparams) for name, qparams in meta["activations"].items()},
        float_nodes=tuple(meta["float_nodes"]),
        provenance=Provenance(**meta["provenance"]),
    )
    _require_sound(made)
    return made


def _in_short(error: Exception) -> str:
    """The first line of what an exception says, and its kind where that says little."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}" if isinstance(error, LookupError | ArithmeticError) else line


def _require_sound(quantized: QuantizedSpan) -> None:
    """Refuse what no quantization makes: a network that does not run, or numbers that stand for nothing.

    Raises:
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError: as running it does.
    """
    network, known, row = quantized.network, quantized.activations, recipe_named(quantized.recipe)
    for node in network.nodes:
        if node.op not in get_args(OpName):
            raise ValueError(f"{node.name}: {node.op!r} is no operation")
    for tensor, groups in network.grouped().items():
        if not are_whole(groups):
            raise ValueError(f"the groups of {tensor} are not all there once")
    tensors = set(network.tensors())
    whole = row.activation_bits is not None and not row.mixed
    if known.keys() - tensors or (whole and tensors - known.keys()):
        raise ValueError(f"scales and tensors differ: {', '.join(sorted(tensors ^ known.keys())[:3])}")
    for name, qparams in known.items():
        inside = qparams.quant_min <= qparams.zero_point <= qparams.quant_max
        if not (inside and 0 < qparams.scale < math.inf):
            raise ValueError(f"{name}: scale {qparams.scale}, zero point {qparams.zero_point}")
    for name, weight in quantized.weights.items():
        if not (weight.scale.isfinite().all() and weight.bias.isfinite().all()):
            raise ValueError(f"{name}: a scale or a bias is not finite")
    config, side = quantized.config, 4
    with torch.no_grad():
        made = tuple(network(torch.zeros(1, config.in_channels, side, side)).shape)
    if made != (1, config.out_channels, config.upscale * side, config.upscale * side):
        raise ValueError(f"an image of {side}x{side} becomes {made}")


def plain_conv(weight: QWeight, groups: int = 1) -> nn.Conv2d:
    """The float convolution that holds the kernel that `weight` stands for."""
    out, per_group, k, _ = weight.values.shape
    conv = nn.Conv2d(per_group * groups, out, k, padding=k // 2, groups=groups)
    conv.load_state_dict({"weight": weight.kernel(), "bias": weight.bias})
    return conv.requires_grad_(False)
