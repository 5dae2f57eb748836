"""The folded network built in TensorFlow, for TensorFlow's own TFLite converter and as a SavedModel.

The network is not written down a second time: the operations of its export by PyTorch are built one by one,
in NHWC, by the rows of `BUILDERS`. Needs the extra `[tensorflow]`.
"""

import copy
import operator
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.deploy import SpanDeploy
from models.errors import InputError
from models.files import refuse_existing, written_whole

from .artifact import INPUT_NAME, OUTPUT_NAME
from .quiet import quiet
from .tflite_graph import ConversionError, tflite_channel_order

TRACED_SIZE = (24, 32)
TfTensor = Any


def require_tensorflow() -> None:
    """Refuse where TensorFlow is not installed.

    Raises:
        InputError: it is not; the message names the extra.
    """
    if find_spec("tensorflow") is None:
        raise InputError(
            "TensorFlow is not installed; install the extra: pip install 'span-edge[tensorflow]'"
        )


def tflite_by_tensorflow(network: SpanDeploy) -> bytes:
    """The float32 network as TFLite, by `TFLiteConverter`, at a size that `tflite_graph.set_size` replaces.

    Raises:
        InputError: TensorFlow is not installed.
    """
    require_tensorflow()
    with quiet():
        import tensorflow as tf

        module = tf.Module()
        module.upscale = _function(network)
        spec = tf.TensorSpec([1, *TRACED_SIZE, network.config.in_channels], tf.float32, INPUT_NAME)
        traced = module.upscale.get_concrete_function(spec)
        data: bytes = tf.lite.TFLiteConverter.from_concrete_functions([traced], module).convert()
    return data


def to_saved_model(network: SpanDeploy, *, out: Path, overwrite: bool = False) -> Path:
    """The network as a SavedModel folder: signature `serving_default`, any image size.

    Args:
        network: the folded network, left unchanged.
        out: the folder to make.
        overwrite: replace a folder of that name.

    Returns:
        `out`. It takes `image`, (1, H, W, C) float32 in [0, 1], and gives `upscaled`, (1, s*H, s*W, C)
        float32.

    Raises:
        InputError: TensorFlow is not installed, or `out` exists and `overwrite` is false, or cannot be
            written.
    """
    require_tensorflow()
    refuse_existing(out, overwrite=overwrite, folder=True)
    with written_whole(out, overwrite=overwrite) as scratch, quiet():
        import tensorflow as tf

        module = tf.Module()
        module.upscale = _function(network)
        spec = tf.TensorSpec([1, None, None, network.config.in_channels], tf.float32, INPUT_NAME)
        signature = module.upscale.get_concrete_function(spec)
        tf.saved_model.save(module, str(scratch), signatures=signature)
    return out


def _function(network: SpanDeploy) -> Any:
    """The network as a `tf.function` from NHWC to a dictionary with `OUTPUT_NAME`."""
    import tensorflow as tf

    lr = torch.zeros(1, network.config.in_channels, *TRACED_SIZE)
    program = torch.export.export(copy.deepcopy(network).eval(), (lr,))

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def upscale(image: TfTensor) -> dict[str, TfTensor]:
        return {OUTPUT_NAME: tf.identity(_built(program, image), name=OUTPUT_NAME)}

    return upscale


def _built(program: torch.export.ExportedProgram, image: TfTensor) -> TfTensor:
    """The program's output on `image`, built node by node."""
    signature = program.graph_signature
    stored = {**program.state_dict, **program.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    values: dict[torch.fx.Node, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = stored[names[node.name]].detach().numpy() if node.name in names else image
        elif node.op == "call_function":
            values[node] = _builder(node)(node, values)
    (result,) = next(node for node in program.graph.nodes if node.op == "output").args[0]
    return values[result]


Values = Mapping[torch.fx.Node, Any]
Builder = Callable[[torch.fx.Node, Values], TfTensor]


def _builder(node: torch.fx.Node) -> Builder:
    name = str(node.target)
    if name not in BUILDERS:
        raise ConversionError(f"no row in convert.tensorflow.BUILDERS for {name}")
    return BUILDERS[name]


def _conv2d(node: torch.fx.Node, values: Values) -> TfTensor:
    """A convolution that keeps the size; its channels in TFLite's order where a pixel shuffle follows."""
    import tensorflow as tf

    x, weight, bias, stride, padding, dilation, groups = _conv_arguments(node, values)
    if any(s != 1 for s in stride) or any(
        2 * p != k - 1 for p, k in zip(padding, weight.shape[2:], strict=True)
    ):
        raise ConversionError(f"{node.name}: only convolutions that keep the size are built")
    order = _order_for_shuffle(node, weight.shape[0])
    weight, bias = weight[order], None if bias is None else bias[order]
    if groups == 1:
        out = tf.nn.conv2d(x, weight.transpose(2, 3, 1, 0), 1, "SAME", dilations=dilation)
    elif weight.shape[1] == 1:
        depth = weight.shape[0] // groups
        filters = weight.reshape(groups, depth, *weight.shape[2:]).transpose(2, 3, 0, 1)
        out = tf.nn.depthwise_conv2d(x, filters, [1, 1, 1, 1], "SAME", dilations=dilation)
    else:
        raise ConversionError(
            f"{node.name}: grouped convolutions are built only where a group has one channel"
        )
    return out if bias is None else tf.nn.bias_add(out, bias)


def _conv_arguments(node: torch.fx.Node, values: Values) -> tuple[Any, ...]:
    given = [values[a] if isinstance(a, torch.fx.Node) else a for a in node.args]
    defaults = [None, None, None, [1, 1], [0, 0], [1, 1], 1]
    return tuple(given + defaults[len(given) :])


def _order_for_shuffle(node: torch.fx.Node, channels: int) -> Any:
    """TFLite's channel order where the node's only use is a pixel shuffle, else the order as it is."""
    for user in node.users:
        if str(user.target) == "aten.pixel_shuffle.default" and len(node.users) == 1:
            factor = user.args[1]
            return tflite_channel_order(channels, int(factor))  # type: ignore[arg-type]
    return np.arange(channels)


def _pixel_shuffle(node: torch.fx.Node, values: Values) -> TfTensor:
    """DEPTH_TO_SPACE; the convolution before it gives its channels in TFLite's order."""
    import tensorflow as tf

    source, factor = node.args
    if str(source.target) != "aten.conv2d.default" or len(source.users) != 1:  # type: ignore[union-attr]
        raise ConversionError("the pixel shuffle does not follow a convolution of its own")
    return values[source] if factor == 1 else tf.nn.depth_to_space(values[source], factor)  # type: ignore[index]


def _concat(node: torch.fx.Node, values: Values) -> TfTensor:
    import tensorflow as tf

    parts, axis = node.args
    if axis != 1:
        raise ConversionError(f"{node.name}: only channels are concatenated")
    return tf.concat([values[part] for part in parts], axis=3)  # type: ignore[union-attr, index]


def _pointwise(build: Callable[..., TfTensor]) -> Builder:
    """An operation on each element; four-dimensional constants go from NCHW to NHWC."""

    def builder(node: torch.fx.Node, values: Values) -> TfTensor:
        return build(*(_operand(a, values) for a in node.args))

    return builder


def _operand(argument: Any, values: Values) -> Any:
    value = values[argument] if isinstance(argument, torch.fx.Node) else argument
    return value.transpose(0, 2, 3, 1) if isinstance(value, np.ndarray) and value.ndim == 4 else value


def _sigmoid(x: TfTensor) -> TfTensor:
    import tensorflow as tf

    return tf.sigmoid(x)


def _silu(x: TfTensor) -> TfTensor:
    return x * _sigmoid(x)


BUILDERS: dict[str, Builder] = {
    "aten.conv2d.default": _conv2d,
    "aten.pixel_shuffle.default": _pixel_shuffle,
    "aten.cat.default": _concat,
    "aten.add.Tensor": _pointwise(operator.add),
    "aten.sub.Tensor": _pointwise(operator.sub),
    "aten.mul.Tensor": _pointwise(operator.mul),
    "aten.sigmoid.default": _pointwise(_sigmoid),
    "aten.silu.default": _pointwise(_silu),
}
"""How each operation of the exported network is built. A network with another operation needs a row here."""
