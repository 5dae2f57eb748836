"""Rewrites of the MIL program that coremltools' own passes do not make; they are entered under `span_edge::`.

They are exact in real numbers. Each says what it finds (Given) and what it leaves (Result). Load coremltools
through `coreml_library` before this module.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from coremltools import PassPipeline
from coremltools.converters.mil.mil import Builder
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.helper import block_context_manager
from coremltools.converters.mil.mil.passes.pass_registry import register_pass
from numpy.typing import NDArray

FLOAT_PASSES = {
    "fp32": (
        "span_edge::fuse_centred_sigmoid",
        "span_edge::fold_gain_into_next_convs",
        "span_edge::fold_gain_before_pixel_shuffle",
    ),
    "fp16": ("span_edge::fuse_centred_sigmoid", "span_edge::fold_gain_before_pixel_shuffle"),
}
"""The rewrites by recipe, in order; they stand before coremltools' own passes.

In fp16 the factor of the image is left where it is, in float32: in the first convolution it would have the
weights rounded once more, which costs up to 2 dB of drift, for one operation on three channels.
"""

FLOAT16_MOST = 65504.0


def pipeline(recipe: str) -> Any:
    """The default passes of coremltools with those of a row of `FLOAT_PASSES` before them."""
    passes = PassPipeline.DEFAULT
    for index, name in enumerate(FLOAT_PASSES[recipe]):
        passes.insert_pass(index=index, pass_name=name)
    return passes


class _Rewrite(AbstractGraphPass):  # type: ignore[misc]
    """Applies `rewrite` to every operation of a kind, in every function."""

    kind: str

    def apply(self, prog: Any) -> None:
        """Rewrite the program in place; coremltools calls this."""
        for function in prog.functions.values():
            self._apply(function)

    @block_context_manager  # type: ignore[untyped-decorator]
    def _apply(self, block: Any) -> None:
        for op in list(block.operations):
            if op.op_type == self.kind:
                self.rewrite(block, op)

    def rewrite(self, block: Any, op: Any) -> None:
        """Rewrite around one operation of the kind, if it fits."""
        raise NotImplementedError


@register_pass(namespace="span_edge")
class fuse_centred_sigmoid(_Rewrite):  # noqa: N801 - passes are called as coremltools calls its own
    """sigmoid(x) - 1/2 = tanh(x / 2) / 2, as one operation.

    Beside the operation that it saves, it keeps digits: near 0 the sigmoid is close to 1/2 and float16 leaves
    it an absolute error of 1e-4, while the tanh keeps its relative one. That is 3 to 4 dB of drift on real
    SPAN weights.

    Given:
        s = sigmoid(x); y = sub(s, 0.5)
    Result:
        y = scaled_tanh(x, alpha=0.5, beta=0.5)
    """

    kind = "sub"

    def rewrite(self, block: Any, op: Any) -> None:
        """See the class."""
        sigmoid = op.x.op
        if sigmoid is None or sigmoid.op_type != "sigmoid" or _scalar(op.y) != 0.5 or not _only_use(op.x):
            return
        tanh = Builder.scaled_tanh(x=sigmoid.x, alpha=0.5, beta=0.5, before_op=op, name=op.name)
        _replace(block, op, tanh, sigmoid)


@register_pass(namespace="span_edge")
class fold_gain_into_next_convs(_Rewrite):  # noqa: N801
    """A factor on the input of convolutions goes into their weights.

    The padding is zero before and after, so borders are exact.

    Given:
        y = mul(x, c); z = conv(y, W, b), and nothing else uses y
    Result:
        z = conv(x, c W, b)
    """

    kind = "mul"

    def rewrite(self, block: Any, op: Any) -> None:
        """See the class."""
        gain = _scalar(op.y)
        convs = list(op.outputs[0].child_ops)
        if gain is None or not all(c.op_type == "conv" and c.x is op.outputs[0] for c in convs):
            return
        if not _fits([c.weight.val * gain for c in convs]):
            return
        for conv in convs:
            folded = _conv_like(conv, x=op.x, weight=conv.weight.val * gain, bias=_bias(conv))
            _replace(block, conv, folded)
        block.remove_ops([op])


@register_pass(namespace="span_edge")
class fold_gain_before_pixel_shuffle(_Rewrite):  # noqa: N801
    """A factor on a shuffled image goes into the convolution before, which spares a pass over it.

    Given:
        y = conv(x, W, b); p = pixel_shuffle(y); z = mul(p, c)
    Result:
        z = pixel_shuffle(conv(x, c W, c b))
    """

    kind = "mul"

    def rewrite(self, block: Any, op: Any) -> None:
        """See the class."""
        gain, shuffle = _scalar(op.y), op.x.op
        if gain is None or shuffle is None or shuffle.op_type != "pixel_shuffle" or not _only_use(op.x):
            return
        conv = shuffle.x.op
        if conv is None or conv.op_type != "conv" or not _only_use(shuffle.x):
            return
        weight, bias = conv.weight.val * gain, _bias(conv)
        bias = None if bias is None else bias * gain
        if not _fits([weight] if bias is None else [weight, bias]):
            return
        folded = _conv_like(conv, x=conv.x, weight=weight, bias=bias)
        shuffled = Builder.pixel_shuffle(
            x=folded, upscale_factor=shuffle.upscale_factor.val, before_op=op, name=shuffle.name
        )
        _replace(block, op, shuffled, shuffle, conv)


def _replace(block: Any, op: Any, new: Any, *dead: Any) -> None:
    """Let `new` stand wherever the result of `op` is used; `op` and the operations `dead` with it go."""
    block.replace_uses_of_var_after_op(anchor_op=op, old_var=op.outputs[0], new_var=new)
    block.remove_ops([op, *dead])


def _conv_like(conv: Any, *, x: Any, weight: NDArray[Any], bias: NDArray[Any] | None) -> Any:
    """A convolution as `conv`, standing before it, with another input and other weights."""
    settings = {
        name: conv.inputs[name].val
        for name in ("strides", "pad_type", "pad", "dilations", "groups")
        if conv.inputs.get(name) is not None
    }
    if bias is not None:
        settings["bias"] = bias.astype(np.float32)
    return Builder.conv(x=x, weight=weight.astype(np.float32), **settings, before_op=conv, name=conv.name)


def _bias(conv: Any) -> NDArray[Any] | None:
    return None if conv.inputs.get("bias") is None else conv.bias.val


def _scalar(value: Any) -> float | None:
    """A constant of one element as a number; None for everything else."""
    known = None if value is None else value.val
    return float(np.ravel(known)[0]) if known is not None and np.size(known) == 1 else None


def _only_use(value: Any) -> bool:
    return len(value.child_ops) == 1 and not value.consuming_blocks


def _fits(arrays: Iterable[NDArray[Any]]) -> bool:
    """Whether every number can still be a finite float16."""
    return all(float(np.abs(array).max()) <= FLOAT16_MOST for array in arrays)
