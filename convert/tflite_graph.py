"""A TFLite graph under rewriting, and the rewrites that make a converted SPAN ours.

A rewrite is one function on a `Graph`, documented as Given and Result. It finds its pattern or leaves the
graph alone; `convert.tflite` lists which are run in which order, and `require_clean` refuses a file where one
should have and did not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as SCHEMA
from numpy.typing import NDArray

from models.errors import InputError

from . import tflite_file
from .tflite_file import OP_NAMES, TYPE_NAMES

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
LAYOUT_OPS = ("TRANSPOSE", "RESHAPE")
FORBIDDEN_OPS = (*LAYOUT_OPS, "PAD", "PADV2", "GATHER", "CUSTOM")
"""Operations that no converted SPAN may hold: passes over memory that the network does not ask for."""
FINGERPRINT_TOLERANCE = 1e-4
"""Rounding of a folded factor moves a channel's relative norm by some 1e-7; other layers differ by 1e-2."""

Array = NDArray[Any]
Op = Any
Tensor = Any


class ConversionError(RuntimeError):
    """A converter gave a graph that our rewrites do not know: a defect to report; no user can mend it."""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The only subgraph of a TFLite model, with the few questions and edits that rewrites need.

    Tensors are named by their index in the file, as operations name them.
    """

    model: Any

    @classmethod
    def read(cls, data: bytes) -> "Graph":
        """The graph of a serialized model."""
        model = tflite_file.unpack(data)
        if len(model.subgraphs) != 1:
            raise ConversionError(f"{len(model.subgraphs)} subgraphs where one was expected")
        return cls(model=model)

    @classmethod
    def empty(cls) -> "Graph":
        """A graph without tensors and operations."""
        model, sub = SCHEMA.ModelT(), SCHEMA.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [sub], [tflite_file.AlignedBuffer()]
        model.operatorCodes, model.metadata, model.signatureDefs = [], [], []
        sub.name, sub.tensors, sub.operators, sub.inputs, sub.outputs = b"main", [], [], [], []
        return cls(model=model)

    def serialize(self) -> bytes:
        """The bytes of the `.tflite` file, without tensors, buffers and op codes that nothing uses."""
        _sweep(self)
        return tflite_file.pack(self.model)

    @property
    def sub(self) -> Any:
        """The subgraph: `tensors`, `operators`, `inputs`, `outputs`."""
        return self.model.subgraphs[0]

    @property
    def ops(self) -> list[Op]:
        """The operations, in the order in which they run."""
        return self.sub.operators  # type: ignore[no-any-return]

    def name_of(self, op: Op) -> str:
        """The operation's TFLite name, such as `CONV_2D`."""
        code = self.model.operatorCodes[op.opcodeIndex]
        return OP_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def tensor(self, index: int) -> Tensor:
        """The tensor's record: `shape`, `type`, `name`, `buffer`, `quantization`."""
        return self.sub.tensors[index]

    def producer(self, index: int) -> Op | None:
        """The operation that writes the tensor, or None for inputs and constants."""
        return next((op for op in self.ops if index in op.outputs), None)

    def consumers(self, index: int) -> list[Op]:
        """The operations that read the tensor."""
        return [op for op in self.ops if index in op.inputs]

    def constant(self, index: int) -> Array | None:
        """A constant tensor's values in its shape, or None for a tensor that is computed."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return None
        dtype = tflite_file.NUMPY_TYPES[TYPE_NAMES[tensor.type]]
        return np.frombuffer(bytes(data), dtype=dtype).reshape(tensor.shape)

    def set_constant(self, index: int, values: Array) -> None:
        """Give a constant other values, shape and type; tensors that share its buffer keep theirs."""
        tensor = self.tensor(index)
        tensor.type = tflite_file.TYPE_CODES[str(values.dtype)]
        tensor.shape = list(values.shape)
        self.model.buffers.append(tflite_file.AlignedBuffer(values))
        tensor.buffer = len(self.model.buffers) - 1

    def add_tensor(self, name: str, dtype: str, shape: Iterable[int]) -> int:
        """A new computed tensor; its index."""
        tensor = SCHEMA.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), [int(n) for n in shape], 0
        tensor.type = tflite_file.TYPE_CODES[dtype]
        self.sub.tensors.append(tensor)
        return len(self.sub.tensors) - 1

    def dtype_of(self, index: int) -> str:
        """The tensor's type, such as `int8`."""
        return TYPE_NAMES[self.tensor(index).type]

    def set_scale(self, index: int, scale: Iterable[float], zero_point: Iterable[int], axis: int = 0) -> None:
        """Say that the integers q stand for scale * (q - zero_point), per tensor or along an axis."""
        quantization = SCHEMA.QuantizationParametersT()
        quantization.scale = np.array(list(scale), dtype=np.float32)
        quantization.zeroPoint = np.array(list(zero_point), dtype=np.int64)
        quantization.quantizedDimension = axis
        self.tensor(index).quantization = quantization

    def scale_of(self, index: int) -> tuple[float, int]:
        """Scale, as float32 in the file, and zero point of a tensor that has one of each.

        Raises:
            ConversionError: it has none, or one per channel.
        """
        quantization = self.tensor(index).quantization
        if quantization is None or quantization.scale is None or len(quantization.scale) != 1:
            raise ConversionError(f"tensor {self.tensor(index).name!r} has no single scale")
        return float(quantization.scale[0]), int(quantization.zeroPoint[0])

    def op(
        self, name: str, inputs: list[int], outputs: list[int], options: Any = None, version: int = 1
    ) -> Op:
        """A new operation, not yet in the graph; `options` is a `...OptionsT` of the schema."""
        code = SCHEMA.OperatorCodeT()
        code.builtinCode = getattr(SCHEMA.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        self.model.operatorCodes.append(code)
        op = SCHEMA.OperatorT()
        op.opcodeIndex, op.inputs, op.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        if options is not None:
            op.builtinOptions = options
            op.builtinOptionsType = getattr(SCHEMA.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return op

    def convolutions(self) -> Iterator[Op]:
        """The convolutions, in the order in which they run."""
        return (op for op in self.ops if self.name_of(op) in CONVOLUTIONS)

    def out_axis(self, convolution: Op) -> int:
        """The filter's axis of output channels: OHWI for a convolution, 1HWO for a depthwise one."""
        return 0 if self.name_of(convolution) == "CONV_2D" else 3


def merge_pixel_shuffle(graph: Graph, *, upscale: int) -> None:
    """One DEPTH_TO_SPACE for the pixel shuffle.

    Given:
        y = CONV_2D(x, filter, bias); out = a chain of RESHAPE and TRANSPOSE of y that moves pixels as
        PyTorch's `pixel_shuffle` does on NCHW, found by sending the numbers 0, 1, 2, ... through it.
    Result:
        out = DEPTH_TO_SPACE(CONV_2D(x, filter', bias')), the output channels taken from PyTorch's order
        (colour, row, column) to TFLite's (row, column, colour). No DEPTH_TO_SPACE for an upscale of 1.

    Raises:
        ConversionError: the graph ends in such a chain that is not the pixel shuffle.
    """
    chain = _trailing_layout_ops(graph)
    if not chain:
        return
    start, out = int(chain[0].inputs[0]), int(graph.sub.outputs[0])
    convolution = graph.producer(start)
    if convolution is None or graph.name_of(convolution) != "CONV_2D" or len(graph.consumers(start)) != 1:
        raise ConversionError("the pixel shuffle does not follow a convolution of its own")
    moved = _moved(graph, chain)
    if not np.array_equal(moved, _pixel_shuffled(graph.tensor(start).shape, upscale)):
        raise ConversionError(f"the graph's last operations are not a pixel shuffle by {upscale}")
    for op in chain:
        graph.ops.remove(op)
    if upscale == 1:
        convolution.outputs = [out]
        return
    _take_channels(graph, convolution, tflite_channel_order(graph.tensor(start).shape[-1], upscale))
    options = SCHEMA.DepthToSpaceOptionsT()
    options.blockSize = upscale
    graph.ops.append(graph.op("DEPTH_TO_SPACE", [start], [out], options))


def tflite_channel_order(channels: int, upscale: int) -> NDArray[np.int64]:
    """For each channel before DEPTH_TO_SPACE, the one before PyTorch's pixel shuffle that holds the same."""
    colour_row_column = np.arange(channels).reshape(-1, upscale, upscale)
    return colour_row_column.transpose(1, 2, 0).reshape(-1)


def _trailing_layout_ops(graph: Graph) -> list[Op]:
    """The longest run of RESHAPE and TRANSPOSE that ends in the graph's output, first operation first."""
    chain: list[Op] = []
    op = graph.producer(int(graph.sub.outputs[0]))
    while op is not None and graph.name_of(op) in LAYOUT_OPS:
        chain.insert(0, op)
        op = graph.producer(int(op.inputs[0]))
    return chain


def _moved(graph: Graph, chain: list[Op]) -> Array:
    """Where the chain puts each element: the numbers 0, 1, 2, ... in its input's shape, sent through it."""
    shape = graph.tensor(int(chain[0].inputs[0])).shape
    values = np.arange(np.prod(shape)).reshape(shape)
    for op in chain:
        if graph.name_of(op) == "TRANSPOSE":
            order = graph.constant(int(op.inputs[1]))
            if order is None:
                raise ConversionError("a TRANSPOSE whose order is computed")
            values = values.transpose(order)
        else:
            values = values.reshape(graph.tensor(int(op.outputs[0])).shape)
    return values


def _pixel_shuffled(nhwc: Iterable[int], upscale: int) -> Array:
    """The numbers 0, 1, 2, ... in shape NHWC through PyTorch's pixel shuffle."""
    n, h, w, c = (int(size) for size in nhwc)
    values = np.arange(n * h * w * c).reshape(n, h, w, c // upscale**2, upscale, upscale)
    return values.transpose(0, 1, 4, 2, 5, 3).reshape(n, h * upscale, w * upscale, -1)


def _take_channels(graph: Graph, convolution: Op, order: NDArray[np.int64]) -> None:
    """Reorder a convolution's output channels: filter, bias, and the scales where each has its own."""
    for index, axis in zip(convolution.inputs[1:], (graph.out_axis(convolution), 0), strict=False):
        values = None if index < 0 else graph.constant(int(index))
        if values is None:
            continue
        graph.set_constant(int(index), values.take(order, axis))
        quantization = graph.tensor(int(index)).quantization
        if quantization is not None and quantization.scale is not None and len(quantization.scale) > 1:
            quantization.scale = np.asarray(quantization.scale)[order]
            quantization.zeroPoint = np.asarray(quantization.zeroPoint)[order]


def set_size(graph: Graph, *, size: tuple[int, int], upscale: int) -> None:
    """The graph for another image size.

    Given:
        a graph traced at one size whose operations keep the size, but for a DEPTH_TO_SPACE that ends it.
    Result:
        the same graph with (1, H, W, C) on every computed tensor, (1, upscale * H, upscale * W, C) on the
        output. No constant depends on the size, so the file still takes any size under `resize_input_tensor`.
    """
    out = int(graph.sub.outputs[0])
    computed = {int(i) for op in graph.ops for i in op.outputs} | {int(graph.sub.inputs[0])}
    for index in computed:
        tensor = graph.tensor(index)
        if graph.constant(index) is not None:
            continue
        if len(tensor.shape) != 4:
            if graph.producer(index) is not None and graph.name_of(graph.producer(index)) == "DEQUANTIZE":
                continue
            raise ConversionError(f"tensor {tensor.name!r} of shape {list(tensor.shape)} is no image")
        factor = upscale if index == out else 1
        tensor.shape = [1, factor * size[0], factor * size[1], int(tensor.shape[3])]
        tensor.shapeSignature = None


def name_layers(graph: Graph, filters: Mapping[str, NDArray[np.float32]]) -> None:
    """Names that a person can find again.

    Given:
        any names, and the folded network's filters (O, I, kh, kw) by layer.
    Result:
        a convolution's output is called as its layer (`block_1.c1_r`), its constants `block_1.c1_r/filter`
        and `/bias`, and what is computed from it `block_1.c1_r/logistic` and so on. A filter is recognised by
        its channels' norms, so neither the order of the convolutions, a factor on the weights nor reordered
        channels matter.

    Raises:
        ConversionError: a convolution is none of the network's, or two are the same.
    """
    left = dict(filters)
    base: dict[int, str] = {int(graph.sub.inputs[0]): "image"}
    taken: set[str] = set()
    for op in graph.ops:
        kind = graph.name_of(op)
        if kind in CONVOLUTIONS:
            layer = _recognised(graph, op, left)
            del left[layer]
            names = (None, f"{layer}/filter", f"{layer}/bias")
            for index, name in zip(op.inputs, names, strict=False):
                if name is not None and index >= 0:
                    graph.tensor(int(index)).name = name.encode()
            base[int(op.outputs[0])] = layer
            name = layer
        else:
            layer = next((base[int(i)] for i in op.inputs if int(i) in base), "constant")
            base[int(op.outputs[0])] = layer
            name = _unused(f"{layer}/{kind.lower()}", taken)
        graph.tensor(int(op.outputs[0])).name = name.encode()


def _fingerprint(filter_oihw: Array) -> Array:
    """The output channels' norms in ascending order, relative to the greatest."""
    norms = np.sort(np.linalg.norm(filter_oihw.reshape(len(filter_oihw), -1).astype(np.float64), axis=1))
    relative: Array = norms / max(norms[-1], np.finfo(np.float64).tiny)
    return relative


def _recognised(graph: Graph, convolution: Op, left: Mapping[str, Array]) -> str:
    values = graph.constant(int(convolution.inputs[1]))
    if values is None:
        raise ConversionError("a convolution whose filter is computed")
    oihw = values.transpose(0, 3, 1, 2) if graph.out_axis(convolution) == 0 else values.transpose(3, 0, 1, 2)
    found = _fingerprint(oihw)
    distance = {
        name: float(np.abs(_fingerprint(f) - found).max())
        for name, f in left.items()
        if f.shape == oihw.shape
    }
    best = min(distance, key=distance.__getitem__, default=None)
    if best is None or distance[best] > FINGERPRINT_TOLERANCE:
        raise ConversionError(
            f"a convolution with a filter (O, I, kh, kw) {oihw.shape} is none of the network's"
        )
    return best


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        stem, _, number = name.partition("#")
        name = f"{stem}#{int(number or 1) + 1}"
    taken.add(name)
    return name


def halve_filters(graph: Graph) -> None:
    """Filters stored in float16, computed with in float32.

    Given:
        CONV_2D(x, filter: float32, bias).
    Result:
        CONV_2D(x, DEQUANTIZE(filter: float16), bias), the form of TFLite's own float16 quantization: the CPU
        turns the filter to float32 once, when it prepares the file, and a GPU takes the float16 as it is.
        Biases and the few other constants stay float32: they are one hundredth of the size.

    Raises:
        InputError: a weight is too large for float16.
    """
    for position, op in reversed(list(enumerate(graph.ops))):
        if graph.name_of(op) not in CONVOLUTIONS:
            continue
        index = int(op.inputs[1])
        values = graph.constant(index)
        name = graph.tensor(index).name.decode()
        if values is None or values.dtype != np.float32:
            raise ConversionError(f"{name} is not a float32 constant")
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise InputError(f"{name} holds weights beyond float16's 65504; use the recipe fp32")
        widened = graph.add_tensor(f"{name}/float32", "float32", values.shape)
        graph.set_constant(index, values.astype(np.float16))
        op.inputs = [op.inputs[0], widened, *op.inputs[2:]]
        graph.ops.insert(
            position, graph.op("DEQUANTIZE", [index], [widened], SCHEMA.DequantizeOptionsT(), version=3)
        )


def sign(graph: Graph, *, input_name: str, output_name: str) -> None:
    """One signature, `serving_default`, and the names that apps use.

    Given:
        a graph with one input and one output.
    Result:
        both tensors carry the given names, and the only signature maps the same names to them.
    """
    maps = []
    for name, indices in ((input_name, graph.sub.inputs), (output_name, graph.sub.outputs)):
        if len(indices) != 1:
            raise ConversionError(f"{len(indices)} tensors where one {name!r} was expected")
        graph.tensor(int(indices[0])).name = name.encode()
        entry = SCHEMA.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), int(indices[0])
        maps.append([entry])
    signature = SCHEMA.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs, signature.outputs = maps
    graph.model.signatureDefs = [signature]


def attach(graph: Graph, *, key: str, text: str) -> None:
    """A metadata entry.

    Given:
        any model.
    Result:
        the model with `text`, in UTF-8, under `key`; other entries are left, the converter's own description
        is not.
    """
    graph.model.buffers.append(tflite_file.AlignedBuffer(np.frombuffer(text.encode(), dtype=np.uint8)))
    entry = SCHEMA.MetadataT()
    entry.name, entry.buffer = key.encode(), len(graph.model.buffers) - 1
    others = [
        e for e in graph.model.metadata or [] if e.name not in (key.encode(), b"keep_stablehlo_constant")
    ]
    graph.model.metadata = [*others, entry]
    graph.model.description = b"SPAN super-resolution, converted by span-edge"


def require_clean(graph: Graph, *, convolutions: int, upscale: int) -> None:
    """Refuse a graph that carries more than the network needs.

    Raises:
        ConversionError: an operation of `FORBIDDEN_OPS` is left, there are more convolutions than the folded
            network has, or not exactly one DEPTH_TO_SPACE (none for an upscale of 1).
    """
    names = [graph.name_of(op) for op in graph.ops]
    faults = [f"{names.count(op)} {op}" for op in FORBIDDEN_OPS if op in names]
    if sum(names.count(op) for op in CONVOLUTIONS) > convolutions:
        faults.append(f"more than {convolutions} convolutions")
    if names.count("DEPTH_TO_SPACE") != (upscale > 1):
        faults.append(f"{names.count('DEPTH_TO_SPACE')} DEPTH_TO_SPACE")
    if faults:
        raise ConversionError(f"the converter left {', '.join(faults)} in the graph")


def _sweep(graph: Graph) -> None:
    """Drop tensors, buffers and op codes that nothing uses, and renumber what is left."""
    sub, model = graph.sub, graph.model
    ends = [int(i) for i in (*sub.inputs, *sub.outputs)]
    used = sorted({int(i) for op in sub.operators for i in (*op.inputs, *op.outputs) if i >= 0} | set(ends))
    place = {old: new for new, old in enumerate(used)} | {-1: -1}
    sub.tensors = [sub.tensors[i] for i in used]
    for op in sub.operators:
        op.inputs, op.outputs = [place[int(i)] for i in op.inputs], [place[int(i)] for i in op.outputs]
    sub.inputs, sub.outputs = [place[int(i)] for i in sub.inputs], [place[int(i)] for i in sub.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = place[int(entry.tensorIndex)]
    _sweep_codes(graph)
    holders = [*sub.tensors, *(model.metadata or [])]
    kept = sorted({0} | {int(h.buffer) for h in holders})
    number = {old: new for new, old in enumerate(kept)}
    model.buffers = [tflite_file.AlignedBuffer.of(model.buffers[i]) for i in kept]
    for holder in holders:
        holder.buffer = number[int(holder.buffer)]


def _sweep_codes(graph: Graph) -> None:
    """One op code per operation and version, in order of first use."""
    codes: dict[tuple[int, int], int] = {}
    kept: list[Any] = []
    for op in graph.ops:
        code = graph.model.operatorCodes[op.opcodeIndex]
        key = (max(code.builtinCode, code.deprecatedBuiltinCode), code.version)
        if key not in codes:
            codes[key] = len(kept)
            kept.append(code)
        op.opcodeIndex = codes[key]
    graph.model.operatorCodes = kept
