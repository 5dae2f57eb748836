"""A quantized network as a torchao PT2E graph: quantize and dequantize around every operation.

The quantizer below states for every tensor its dtype, its granularity and what it shares, with the numbers of
a `QuantizedSpan`; nothing is observed. Whoever takes PT2E graphs (litert-torch, coremltools, ExecuTorch) can
take this one.
"""

from typing import Any

import torch
from torch import Tensor, fx
from torchao.quantization.pt2e import ObserverBase
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import (
    FixedQParamsQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    QuantizationSpecBase,
    Quantizer,
    SharedQuantizationSpec,
)

from .graph import IMAGE, Node
from .quantized import QParams, QuantizedSpan, QWeight
from .rounding import LIMIT

DTYPES = {"int8": torch.int8, "int16": torch.int16}
SCHEME_TENSOR, SCHEME_CHANNEL = torch.per_tensor_affine, torch.per_channel_symmetric

ATEN = {
    "conv2d": (torch.ops.aten.conv2d.default,),
    "sigmoid": (torch.ops.aten.sigmoid.default,),
    "center": (torch.ops.aten.sub.Tensor,),
    "tanh": (torch.ops.aten.tanh.default,),
    "plus_one": (torch.ops.aten.add.Tensor,),
    "times": (torch.ops.aten.mul.Tensor,),
    "mul": (torch.ops.aten.mul.Tensor,),
    "add": (torch.ops.aten.add.Tensor,),
    "concat": (torch.ops.aten.cat.default,),
    "group": (torch.ops.aten.slice.Tensor,),
    "pixel_shuffle": (torch.ops.aten.pixel_shuffle.default,),
}
"""What torch.export makes of each operation."""


class KnownScale(ObserverBase):  # type: ignore[misc]
    """An observer that observes nothing: it has the scales of a convolution's output channels."""

    def __init__(self, scale: Tensor, dtype: torch.dtype = torch.int8, **_given: object) -> None:
        super().__init__(dtype)
        self.scale = scale
        self.dtype, self.qscheme, self.ch_axis = dtype, SCHEME_CHANNEL, 0
        self.quant_min, self.quant_max = -LIMIT, LIMIT

    def forward(self, x: Tensor) -> Tensor:
        """Unchanged."""
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The scales, and zeros."""
        return self.scale, torch.zeros_like(self.scale, dtype=torch.int64)


class KnownQuantizer(Quantizer):  # type: ignore[misc]
    """Annotates the exported graph of a `QuantizedSpan`'s network with that object's numbers."""

    def __init__(self, quantized: QuantizedSpan) -> None:
        super().__init__()
        self.quantized = quantized

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        """Give every operation the specs of its inputs, its weight and its output."""
        made: dict[str, fx.Node] = {
            IMAGE: next(node for node in model.graph.nodes if node.op == "placeholder")
        }
        ops = [node for node in model.graph.nodes if node.op == "call_function"]
        if len(ops) != len(self.quantized.network.nodes):
            raise ValueError(f"{len(ops)} operations were exported, not {len(self.quantized.network.nodes)}")
        for ours, node in zip(self.quantized.network.nodes, ops, strict=True):
            if node.target not in ATEN[ours.op]:
                raise ValueError(f"{ours.name} was exported as {node.target}")
            made[ours.name] = node
            node.meta["quantization_annotation"] = self._annotation(ours, node, made)
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to check: the annotation covers every operation or raises."""

    def _annotation(self, ours: Node, node: fx.Node, made: dict[str, fx.Node]) -> QuantizationAnnotation:
        inputs: dict[fx.Node, QuantizationSpecBase | None] = {
            made[name]: self._spec(name) for name in ours.inputs if self._spec(name) is not None
        }
        output = self._spec(ours.name)
        if ours.op == "pixel_shuffle" and output is not None and inputs:
            output = SharedQuantizationSpec((made[ours.inputs[0]], node))
        if ours.op == "conv2d":
            weight = node.args[1]
            assert isinstance(weight, fx.Node)
            inputs[weight] = weight_spec(self.quantized.weights[ours.name])
        return QuantizationAnnotation(input_qspec_map=inputs, output_qspec=output, _annotated=True)

    def _spec(self, name: str) -> QuantizationSpecBase | None:
        qparams = self.quantized.activations.get(name)
        return None if qparams is None else activation_spec(qparams)


def activation_spec(qparams: QParams) -> FixedQParamsQuantizationSpec:
    """One scale and zero point for a tensor."""
    return FixedQParamsQuantizationSpec(
        dtype=DTYPES[qparams.dtype],
        scale=qparams.scale,
        zero_point=qparams.zero_point,
        quant_min=qparams.quant_min,
        quant_max=qparams.quant_max,
        qscheme=SCHEME_TENSOR,
    )


def weight_spec(weight: QWeight) -> QuantizationSpec:
    """One scale per output channel, symmetric, -127..127."""
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=KnownScale.with_args(scale=weight.scale),
        quant_min=-LIMIT,
        quant_max=LIMIT,
        qscheme=SCHEME_CHANNEL,
        ch_axis=0,
    )


def to_pt2e(quantized: QuantizedSpan, size: tuple[int, int]) -> fx.GraphModule:
    """The reference graph, quantize and dequantize operations explicit, weights folded to integers.

    Args:
        quantized: of any recipe with integer weights.
        size: height and width of the low-resolution image.

    Returns:
        A module from (1, C, H, W) in [0, 1] to (1, C_out, s*H, s*W); biases are not rounded.
    """
    example = (torch.zeros(1, quantized.config.in_channels, *size),)
    exported: Any = torch.export.export(quantized.network, example).module()
    prepared = prepare_pt2e(exported, KnownQuantizer(quantized))
    prepared(*example)
    converted: fx.GraphModule = convert_pt2e(prepared, fold_quantize=True)
    return converted
