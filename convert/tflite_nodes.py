"""Quantized networks to TFLite graphs: one kernel per node, with the network's own integers and scales.

No converter stands between: what is simulated in PyTorch is what the file computes, tensor by tensor, under
the same names. A node whose tensors all have integers is an integer kernel; any other is a float one, and
DEQUANTIZE and QUANTIZE stand only where the two meet (in recipes that ask for it).
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as SCHEMA
from numpy.typing import NDArray

from quantize.graph import IMAGE, UPSCALED, Node, OpName, are_whole
from quantize.quantized import QParams, QuantizedSpan
from quantize.recipe import recipe_named

from .tflite_graph import ConversionError, Graph, tflite_channel_order

PIXEL = ("uint8", 1 / 255, 0)
"""A displayable frame: dtype, scale and zero point of the file's input and output."""

PIXEL_INT8 = QParams(scale=1 / 255, zero_point=-128)
"""The same pixels as signed integers: a pixel less 128."""

FIXED_SIGMOID = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}
"""Scale and zero point that TFLite's LOGISTIC kernels insist on."""

VERSIONS: dict[tuple[str, str], int] = {
    ("CONV_2D", "int8"): 3,
    ("CONV_2D", "int16"): 4,
    ("DEPTHWISE_CONV_2D", "int8"): 3,
    ("DEPTHWISE_CONV_2D", "int16"): 5,
    ("LOGISTIC", "int8"): 2,
    ("LOGISTIC", "int16"): 3,
    ("TANH", "int8"): 2,
    ("MUL", "int8"): 2,
    ("MUL", "int16"): 4,
    ("ADD", "int8"): 2,
    ("ADD", "int16"): 3,
    ("SUB", "int8"): 2,
    ("SUB", "int16"): 5,
    ("CONCATENATION", "int8"): 2,
    ("CONCATENATION", "int16"): 3,
    ("SPLIT", "int8"): 2,
    ("DEQUANTIZE", "int8"): 2,
    ("DEQUANTIZE", "int16"): 3,
    ("DEQUANTIZE", "filter"): 5,
}
"""Versions of the kernels that take a type, as TFLite numbers them; 1 where there is no row."""


def graph_of(quantized: QuantizedSpan, *, size: tuple[int, int]) -> Graph:
    """The TFLite graph of a quantized network: `image` to `upscaled`, NHWC.

    Args:
        quantized: of any recipe with integer weights, left unchanged.
        size: (H, W) of the image in pixels.

    Returns:
        a graph that takes and gives `uint8` pixels where image and output have integers, else float32 in [0,
        1].

    Raises:
        ConversionError: a scale that a kernel does not take, a node that has no kernel, or a tensor without a
            scale in a recipe of integers throughout.
    """
    row = recipe_named(quantized.recipe)
    tensors = {IMAGE, *(node.name for node in quantized.network.nodes)}
    missing = sorted(tensors - set(quantized.activations))
    if missing and row.activation_bits is not None and not row.mixed:
        raise ConversionError(f"{row.name}: no scale for {', '.join(missing)}")
    return _Emitter(quantized, size).emit()


class _Emitter:
    """A graph in the making, and where each of the network's tensors is in it.

    Attributes:
        at: index of the tensor of a name, in the type that its node computes.
        real: index of its float32 copy, made when a float node first asks for it.
    """

    def __init__(self, quantized: QuantizedSpan, size: tuple[int, int]) -> None:
        self.quantized = quantized
        self.size = size
        self.graph = Graph.empty()
        self.at: dict[str, int] = {}
        self.real: dict[str, int] = {}

    def emit(self) -> Graph:
        self._image()
        for node in self.quantized.network.nodes:
            integer = self.quantized.is_integer(node)
            inputs = [self.at[n] if integer else self._as_real(n) for n in node.inputs]
            EMITTERS[node.op](self, node, inputs, integer)
            if not integer and node.name in self.quantized.activations:
                self._quantize(node.name)
        self._output()
        return self.graph

    # What follows makes tensors and operations; `EMITTERS` below says which a node needs.

    def tensor(self, name: str, channels: int, qparams: QParams | None, factor: int = 1) -> int:
        """A computed tensor of `channels`, integer where it has scales."""
        shape = (1, factor * self.size[0], factor * self.size[1], channels)
        index = self.graph.add_tensor(name, "float32" if qparams is None else qparams.dtype, shape)
        if qparams is not None:
            self.graph.set_scale(index, [qparams.scale], [qparams.zero_point])
        return index

    def constant(
        self, name: str, values: NDArray[Any], scale: Iterable[float] = (), zero_point: int = 0, axis: int = 0
    ) -> int:
        """A constant tensor; with scales along `axis` where there are any."""
        index = self.graph.add_tensor(name, str(values.dtype), values.shape)
        self.graph.set_constant(index, values)
        scales = list(scale)
        if scales:
            self.graph.set_scale(index, scales, [zero_point] * len(scales), axis)
        return index

    def run(
        self,
        kernel: str,
        inputs: list[int],
        output: int | list[int],
        options: Any = None,
        dtype: str | None = None,
    ) -> None:
        """One operation at the end of the graph; its version follows from the type of its first input."""
        outputs = output if isinstance(output, list) else [output]
        version = VERSIONS.get((kernel, dtype or self.graph.dtype_of(inputs[0])), 1)
        self.graph.ops.append(self.graph.op(kernel, inputs, outputs, options, version))

    def channels(self, index: int) -> int:
        """Channels of a tensor."""
        return int(self.graph.tensor(index).shape[-1])

    def result(self, node: Node, channels: int, integer: bool) -> int:
        """The tensor that a node computes, entered under its name."""
        qparams = self.quantized.activations[node.name] if integer else None
        self.at[node.name] = self.tensor(node.name, channels, qparams)
        return self.at[node.name]

    def requantized(self, index: int, qparams: QParams, name: str) -> int:
        """The same tensor at another scale, by one cheap pass; itself where the scale is the same."""
        given = (self.graph.dtype_of(index), *self.graph.scale_of(index))
        if given == (qparams.dtype, float(np.float32(qparams.scale)), qparams.zero_point):
            return index
        shape = self.graph.tensor(index).shape
        other = self.tensor(name, int(shape[-1]), qparams, int(shape[1]) // self.size[0])
        self.run("QUANTIZE", [index], other, SCHEMA.QuantizeOptionsT())
        return other

    def _as_real(self, name: str) -> int:
        index = self.at[name]
        if self.graph.dtype_of(index) == "float32":
            return index
        if name not in self.real:
            self.real[name] = self.tensor(f"{name}/float32", self.channels(index), None, self._factor(index))
            self.run("DEQUANTIZE", [index], self.real[name], SCHEMA.DequantizeOptionsT())
        return self.real[name]

    def _quantize(self, name: str) -> None:
        """Round a float node's tensor, for all that read it."""
        index = self.at[name]
        self.graph.tensor(index).name = f"{name}/float32".encode()
        self.at[name] = self.tensor(
            name, self.channels(index), self.quantized.activations[name], self._factor(index)
        )
        self.run("QUANTIZE", [index], self.at[name], SCHEMA.QuantizeOptionsT())

    def _factor(self, index: int) -> int:
        return int(self.graph.tensor(index).shape[1]) // self.size[0]

    def _image(self) -> None:
        channels, qparams = self.quantized.config.in_channels, self.quantized.activations.get(IMAGE)
        if qparams is None:
            self.at[IMAGE] = self.tensor(IMAGE, channels, None)
            self.graph.sub.inputs = [self.at[IMAGE]]
            return
        frame = self._frame(IMAGE, channels)
        self.graph.sub.inputs = [frame]
        self.at[IMAGE] = self.tensor(f"{IMAGE}/{qparams.dtype}", channels, qparams)
        self.run("QUANTIZE", [frame], self.at[IMAGE], SCHEMA.QuantizeOptionsT())

    def _output(self) -> None:
        """A displayable frame where the output has integers."""
        index = self.at[UPSCALED]
        if self.graph.dtype_of(index) != "float32":
            self.graph.tensor(index).name = f"{UPSCALED}/int8".encode()
            frame = self._frame(UPSCALED, self.channels(index), self.quantized.config.upscale)
            self.run("QUANTIZE", [index], frame, SCHEMA.QuantizeOptionsT())
            index = frame
        self.graph.sub.outputs = [index]

    def _frame(self, name: str, channels: int, factor: int = 1) -> int:
        dtype, scale, zero_point = PIXEL
        shape = (1, factor * self.size[0], factor * self.size[1], channels)
        index = self.graph.add_tensor(name, dtype, shape)
        self.graph.set_scale(index, [scale], [zero_point])
        return index


def _conv2d(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D for a group per channel; channels in TFLite's order before a shuffle."""
    conv, weight = made.quantized.network.conv(node.name), made.quantized.weights[node.name]
    depthwise = conv.groups > 1
    if depthwise and conv.groups != conv.in_channels:
        raise ConversionError(
            f"{node.name}: {conv.groups} groups of {conv.in_channels} channels have no kernel"
        )
    order = _channel_order(made, node, conv.out_channels)
    out = made.result(node, conv.out_channels, integer)
    scale, bias = weight.scale, weight.bias
    if integer:
        source, result = (made.quantized.activations[name] for name in (node.inputs[0], node.name))
        scale = weight.integer_scale(source, result)
        bias = weight.integer_bias(source, scale)
    oihw, scales, offsets = (part.numpy()[order] for part in (weight.values, scale, bias))
    axis, values = (3, oihw.transpose(1, 2, 3, 0)) if depthwise else (0, oihw.transpose(0, 2, 3, 1))
    kernel = made.constant(f"{node.name}/filter", np.ascontiguousarray(values), scales, axis=axis)
    if not integer:
        real = made.graph.add_tensor(f"{node.name}/filter/float32", "float32", values.shape)
        made.run("DEQUANTIZE", [kernel], real, SCHEMA.DequantizeOptionsT(), dtype="filter")
        kernel = real
    step = made.graph.scale_of(inputs[0])[0] * scales.astype(np.float64) if integer else None
    bias_at = _bias(made, node, offsets, step)
    options = SCHEMA.DepthwiseConv2DOptionsT() if depthwise else SCHEMA.Conv2DOptionsT()
    if depthwise:
        options.depthMultiplier = conv.out_channels // conv.groups
    options.padding = SCHEMA.Padding.SAME
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    made.run("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [inputs[0], kernel, bias_at], out, options)


def _channel_order(made: _Emitter, node: Node, channels: int) -> NDArray[np.int64]:
    if any(n.op == "pixel_shuffle" for n in made.quantized.network.consumers(node.name)):
        return tflite_channel_order(channels, made.quantized.config.upscale)
    return np.arange(channels)


def _bias(made: _Emitter, node: Node, bias: NDArray[Any], step: NDArray[np.float64] | None) -> int:
    """The bias: float32, or integers of `step`, the product of the input's scale and the filter's."""
    if step is None:
        return made.constant(f"{node.name}/bias", bias.astype(np.float32))
    if np.abs(bias).max(initial=0) > np.iinfo(np.int32).max:
        raise ConversionError(
            f"{node.name}: a bias of {np.abs(bias * step).max():g} does not fit its grid of {step.min():g}"
        )
    wide = made.graph.dtype_of(made.at[node.name]) == "int16"
    return made.constant(f"{node.name}/bias", bias.astype(np.int64 if wide else np.int32), step)


def _sigmoid(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    out = made.result(node, made.channels(inputs[0]), integer)
    if integer:
        given, fixed = (
            made.graph.scale_of(out),
            FIXED_SIGMOID[made.graph.dtype_of(out)],
        )  # powers of two: exact
        if given != fixed:
            raise ConversionError(f"{node.name}: LOGISTIC's scale and zero point are {fixed}, not {given}")
    made.run("LOGISTIC", inputs, out)


def _center(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """SUB of the constant 0.5, which the sigmoid's own scale holds exactly."""
    if integer:
        dtype = made.graph.dtype_of(inputs[0])
        scale, zero_point = FIXED_SIGMOID[dtype]
        half = np.array([round(0.5 / scale) + zero_point], dtype=dtype)
        constant = made.constant(f"{node.name}/half", half, [scale], zero_point)
    else:
        constant = made.constant(f"{node.name}/half", np.array([0.5], dtype=np.float32))
    options = SCHEMA.SubOptionsT()
    options.potScaleInt16 = False
    made.run("SUB", [inputs[0], constant], made.result(node, made.channels(inputs[0]), integer), options)


def _tanh(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """TANH, whose table holds any scale."""
    made.run("TANH", inputs, made.result(node, made.channels(inputs[0]), integer))


def _plus_one(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """ADD of the constant 1, a whole number of the input's steps."""
    if integer:
        scale = made.graph.scale_of(inputs[0])[0]
        steps = round(1 / scale)
        if steps > 255 or abs(steps * scale - 1) > 1e-6:
            raise ConversionError(f"{node.name}: 1 is not a whole number of steps of {scale:g}, 255 at most")
        one = np.array([steps - 128], dtype=np.int8)
        constant = made.constant(f"{node.name}/one", one, [scale], -128)
    else:
        constant = made.constant(f"{node.name}/one", np.array([1], dtype=np.float32))
    options = SCHEMA.AddOptionsT()
    made.run("ADD", [inputs[0], constant], made.result(node, made.channels(inputs[0]), integer), options)


def _times(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """MUL by a constant, which keeps the integers: its result is at another scale."""
    if integer:
        constant = made.constant(f"{node.name}/factor", np.array([1], dtype=np.int8), [node.factor])
    else:
        constant = made.constant(f"{node.name}/factor", np.array([node.factor], dtype=np.float32))
    out = made.result(node, made.channels(inputs[0]), integer)
    made.run("MUL", [inputs[0], constant], out, SCHEMA.MulOptionsT())


def _add(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """ADD; of 16-bit integers at any scale, not only at powers of two."""
    options = SCHEMA.AddOptionsT()
    options.potScaleInt16 = False
    made.run("ADD", inputs, made.result(node, made.channels(inputs[0]), integer), options)


def _mul(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    made.run("MUL", inputs, made.result(node, made.channels(inputs[0]), integer), SCHEMA.MulOptionsT())


def _concat(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """CONCATENATION, which takes one scale: a source at another scale is brought to it."""
    if integer:
        qparams = made.quantized.activations[node.name]
        inputs = [
            made.requantized(index, qparams, f"{node.name}/{name}")
            for name, index in zip(node.inputs, inputs, strict=True)
        ]
    options = SCHEMA.ConcatenationOptionsT()
    options.axis = 3
    made.run("CONCATENATION", inputs, made.result(node, sum(map(made.channels, inputs)), integer), options)


def _group(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """SPLIT, which makes all groups of a tensor at once; nobody reads those that are of the other kind."""
    if node.name in made.at:
        return
    (source,), (whole,), size = inputs, node.inputs, made.channels(inputs[0]) // node.of
    groups = made.quantized.network.grouped()[whole]
    if not are_whole(groups):
        raise ConversionError(
            f"{node.name}: not all {node.of} groups of {whole} are there, or some are twice"
        )
    results = []
    for one in groups:
        if made.quantized.is_integer(one) == integer:
            results.append(made.result(one, size, integer))
        else:
            qparams = made.quantized.activations[whole] if integer else None
            results.append(made.tensor(f"{one.name}/unread", size, qparams))
    axis = made.constant(f"{node.name}/axis", np.array(3, dtype=np.int32))
    options = SCHEMA.SplitOptionsT()
    options.numSplits = node.of
    made.run("SPLIT", [axis, source], results, options, dtype=made.graph.dtype_of(source))


def _pixel_shuffle(made: _Emitter, node: Node, inputs: list[int], integer: bool) -> None:
    """DEPTH_TO_SPACE, whose convolution gives its channels in TFLite's order; nothing for an upscale of 1.

    It takes 8-bit integers only, and so does the step to uint8 after it: 16-bit ones become pixels before it.
    """
    upscale, qparams, source = made.quantized.config.upscale, None, inputs[0]
    if integer:
        qparams = made.quantized.activations[node.name]
        qparams = PIXEL_INT8 if qparams.dtype == "int16" else qparams
        source = made.requantized(source, qparams, f"{node.name}/before")
    if upscale == 1:
        made.at[node.name] = source
        return
    options = SCHEMA.DepthToSpaceOptionsT()
    options.blockSize = upscale
    made.at[node.name] = made.tensor(node.name, made.channels(source) // upscale**2, qparams, upscale)
    made.run("DEPTH_TO_SPACE", [source], made.at[node.name], options)


EMITTERS: dict[OpName, Callable[[_Emitter, Node, list[int], bool], None]] = {
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
"""The kernel of each node. A new node is a row here."""
