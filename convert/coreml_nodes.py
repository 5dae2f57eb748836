"""Quantized networks to ML Programs: a MIL operation per node, with the quantized network's own integers.

Where a tensor has integers, its operation is followed by quantize and dequantize, the pattern that Core ML
runs in integers where it can (iOS 17); an operation that keeps integers as they are is another dequantize.
All else is floating point. Weights stay int8 in the file and are
expanded by constexpr_affine_dequantize. The program is built as it is written, by no converter and no pass
that could move a scale.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quantize.graph import IMAGE, UPSCALED, Node, OpName
from quantize.quantized import QParams, QuantizedSpan

from .artifact import INPUT_NAME, OUTPUT_NAME
from .coreml_edges import Edges
from .coreml_library import load_coremltools, without_bars

FloatBits = Literal[16, 32]


def quantized_model(
    quantized: QuantizedSpan, *, edges: Edges, minimum_ios: int, float_bits: FloatBits = 16
) -> Any:
    """The network as an `MLModel` that is not loaded.

    Args:
        quantized: of a recipe with integer weights and, if any, int8 activations; left unchanged.
        edges: what an app gives and gets.
        minimum_ios: oldest iOS that must run it; 17 for integer activations, 16 without.
        float_bits: of what is computed between integers. float32 rounds as the simulation does and shuts the
            Neural Engine out.
    """
    ct = load_coremltools()
    program = _Emitter(quantized, edges, float_bits).program(ct.target[f"iOS{minimum_ios}"])
    with without_bars():
        return ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[edges.input_type()],
            minimum_deployment_target=ct.target[f"iOS{minimum_ios}"],
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )


class _Emitter:
    """A program in the making, and where each of the network's tensors is in it.

    Image and last convolution are on the scale of the app's pixels, so that no operation is spent on bringing
    them there: scales are multiplied by `Edges.white`.

    Attributes:
        float: what is computed between integers.
        real: float variables by tensor name; of tensors with integers, what they stand for.
        integers: those tensors' integers, by their names in the program.
        groups: float variables of the groups of a tensor's channels, by the tensor's name.
        fused: sigmoids that stand in the program only as part of what reads them.
    """

    def __init__(self, quantized: QuantizedSpan, edges: Edges, float_bits: FloatBits) -> None:
        from coremltools.converters.mil.mil import Builder

        self.build = Builder
        self.quantized = quantized
        self.edges = edges
        self.float = np.float16 if float_bits == 16 else np.float32
        self.nodes = {node.name: node for node in quantized.network.nodes}
        self.last = self.nodes[UPSCALED].inputs[0]
        self.real: dict[str, Any] = {}
        self.integers: dict[str, Any] = {}
        self.groups: dict[str, Any] = {}
        self.fused = {
            node.name for node in self.nodes.values() if node.op == "sigmoid" and self._is_fused(node)
        }

    def program(self, target: Any) -> Any:
        """The whole program, for coremltools' target."""
        from coremltools.converters.mil.mil import Function, Program, get_new_symbol, types

        config, sizes = self.edges.config, self.edges.sizes
        sides = sizes.default if sizes.is_fixed else (get_new_symbol(), get_new_symbol())
        image = self.build.placeholder(shape=(1, config.in_channels, *sides), dtype=types.fp32)
        program = Program()
        with Function({INPUT_NAME: image}, opset_version=target) as function:
            self._image(function.inputs[INPUT_NAME])
            for node in self.nodes.values():
                if node.name not in self.fused:
                    self._emit(node)
            function.set_outputs([self._output()])
        function.set_output_types([self.edges.output_type()])
        program.add_function("main", function)
        return program

    def qparams(self, name: str) -> QParams | None:
        """Scale and zero point of a tensor as it is in the program; None where it has no integers."""
        qparams = self.quantized.activations.get(name)
        if qparams is None or name not in (self.last, UPSCALED):
            return qparams
        return replace(qparams, scale=qparams.scale * self.edges.white)

    def stored(self, name: str, value: Any, given: QParams, kept: QParams) -> Any:
        """`value` rounded to integers by `given`, called `name`, and what they stand for by `kept`."""
        self.integers[name] = self.build.quantize(
            input=value,
            scale=np.float32(given.scale) if self._is_float32(value) else self.float(given.scale),
            zero_point=np.int8(given.zero_point),
            output_dtype="int8",
            name=mil_name(name),
        )
        return self.meaning(name, kept)

    def meaning(self, name: str, kept: QParams) -> Any:
        """What the integers called `name` stand for by `kept`."""
        return self.build.dequantize(
            input=self.integers[name],
            scale=self.float(kept.scale),
            zero_point=np.int8(kept.zero_point),
            name=f"{mil_name(name)}_dequantized",
        )

    def _emit(self, node: Node) -> None:
        qparams = self.qparams(node.name)
        if node.op in ("plus_one", "times") and self.quantized.is_integer(node) and qparams is not None:
            self.integers[node.name] = self.integers[node.inputs[0]]
            self.real[node.name] = self.meaning(node.name, qparams)
            return
        moves = node.op == "pixel_shuffle" and qparams == self.qparams(node.inputs[0])
        label = mil_name(node.name) + ("_float" if qparams and not moves else "")
        value = EMITTERS[node.op](self, node, label if node.name != UPSCALED else f"{label}_pixels")
        if qparams is not None and not moves:
            value = self.stored(
                node.name if node.name != UPSCALED else "upscaled_integers", value, qparams, qparams
            )
        self.real[node.name] = value

    def _image(self, pixels: Any) -> None:
        qparams = self.quantized.activations.get(IMAGE)
        if qparams is not None:
            at_edge = replace(qparams, scale=qparams.scale * self.edges.white)
            self.real[IMAGE] = self.stored(f"{IMAGE}_integers", pixels, at_edge, qparams)
            return
        if self.edges.white != 1:
            pixels = self.build.mul(x=pixels, y=np.float32(1 / self.edges.white), name="image_in_01")
        self.real[IMAGE] = self.build.cast(x=pixels, dtype=np.dtype(self.float).name.replace("float", "fp"))

    def _output(self) -> Any:
        value, white, qparams = self.real[UPSCALED], self.edges.white, self.qparams(UPSCALED)
        inside = qparams is not None and qparams.low >= 0 and qparams.high <= white * (1 + 1e-6)
        if self.edges.io == "image" and not inside:
            value = self.build.clip(
                x=value, alpha=self.float(0), beta=self.float(white), name="upscaled_clipped"
            )
        return self.build.cast(x=value, dtype="fp32", name=OUTPUT_NAME)

    def _is_fused(self, sigmoid: Node) -> bool:
        """Whether its only reader can take a sigmoid in and no integer changes: silu, or `_center`."""
        readers = self.quantized.network.consumers(sigmoid.name)
        if len(readers) != 1:
            return False
        reader, known = readers[0], self.quantized.activations
        mine, its = known.get(sigmoid.name), known.get(reader.name)
        if reader.op == "mul":
            return mine is None and sorted(reader.inputs) == sorted((sigmoid.inputs[0], sigmoid.name))
        if reader.op != "center":
            return False
        if mine is None or its is None:
            return mine is None
        return mine.scale == its.scale and 0.5 / its.scale == its.zero_point - mine.zero_point

    @staticmethod
    def _is_float32(value: Any) -> bool:
        from coremltools.converters.mil.mil import types

        return bool(value.dtype == types.fp32)


def mil_name(name: str) -> str:
    """A tensor's name as MIL allows it."""
    return name.replace(".", "_")


def _conv2d(made: _Emitter, node: Node, label: str) -> Any:
    """One conv, of int8 weights, with the bias on the integer kernel's grid where the node is integer."""
    quantized, source = made.quantized, node.inputs[0]
    weight, gain = quantized.weights[node.name], made.edges.white if node.name == made.last else 1.0
    scale = weight.scale.numpy().astype(np.float64)
    bias: NDArray[Any] = weight.bias.numpy().astype(np.float64)
    if quantized.is_integer(node):
        given, kept = (quantized.activations[name] for name in (source, node.name))
        finer = weight.integer_scale(given, kept)
        bias = weight.integer_bias(given, finer).numpy() * finer.numpy() * given.scale
    values = made.build.constexpr_affine_dequantize(
        quantized_data=weight.values.numpy(),
        zero_point=np.int8(0),
        scale=(scale * gain).astype(made.float),
        axis=np.int32(0),
        name=f"{mil_name(node.name)}_weight",
    )
    pad = weight.values.shape[-1] // 2
    return made.build.conv(
        x=made.real[source],
        weight=values,
        bias=(bias * gain).astype(made.float),
        pad_type="custom",
        pad=[pad] * 4,
        groups=quantized.network.conv(node.name).groups,
        name=label,
    )


def _sigmoid(made: _Emitter, node: Node, label: str) -> Any:
    return made.build.sigmoid(x=made.real[node.inputs[0]], name=label)


def _center(made: _Emitter, node: Node, label: str) -> Any:
    """tanh(x / 2) / 2 of what the sigmoid before it reads, or the subtraction from that sigmoid."""
    source = node.inputs[0]
    if source not in made.fused:
        return made.build.sub(x=made.real[source], y=made.float(0.5), name=label)
    x = made.real[made.nodes[source].inputs[0]]
    return made.build.scaled_tanh(x=x, alpha=made.float(0.5), beta=made.float(0.5), name=label)


def _tanh(made: _Emitter, node: Node, label: str) -> Any:
    return made.build.tanh(x=made.real[node.inputs[0]], name=label)


def _plus_one(made: _Emitter, node: Node, label: str) -> Any:
    return made.build.add(x=made.real[node.inputs[0]], y=made.float(1), name=label)


def _times(made: _Emitter, node: Node, label: str) -> Any:
    return made.build.mul(x=made.real[node.inputs[0]], y=made.float(node.factor), name=label)


def _mul(made: _Emitter, node: Node, label: str) -> Any:
    gates = [name for name in node.inputs if name in made.fused]
    if gates:
        return made.build.silu(x=made.real[made.nodes[gates[0]].inputs[0]], name=label)
    first, second = (made.real[name] for name in node.inputs)
    return made.build.mul(x=first, y=second, name=label)


def _add(made: _Emitter, node: Node, label: str) -> Any:
    first, second = (made.real[name] for name in node.inputs)
    return made.build.add(x=first, y=second, name=label)


def _concat(made: _Emitter, node: Node, label: str) -> Any:
    return made.build.concat(values=[made.real[name] for name in node.inputs], axis=1, name=label)


def _group(made: _Emitter, node: Node, label: str) -> Any:
    """One result of a split, which makes all groups of a tensor at once."""
    (source,) = node.inputs
    if source not in made.groups:
        name = f"{mil_name(source)}_groups"
        made.groups[source] = made.build.split(x=made.real[source], num_splits=node.of, axis=1, name=name)
    return made.groups[source][node.number]


def _pixel_shuffle(made: _Emitter, node: Node, label: str) -> Any:
    factor = made.quantized.config.upscale
    return made.build.pixel_shuffle(x=made.real[node.inputs[0]], upscale_factor=factor, name=label)


EMITTERS: dict[OpName, Callable[[_Emitter, Node, str], Any]] = {
    "conv2d": _conv2d,
    "sigmoid": _sigmoid,
    "center": _center,
    "tanh": _tanh,
    "plus_one": _plus_one,
    "times": _times,
    "mul": _mul,
    "add": _add,
    "concat": _concat,
    "group": _group,
    "pixel_shuffle": _pixel_shuffle,
}
"""The MIL operation of each node. A new node is a row here."""
