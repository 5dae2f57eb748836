"""Folded float networks to ML Programs, by `torch.export`, coremltools' frontend and our passes.

Tracing gives the same operations from 204 nodes instead of 62, without the layers' names, and torch has
deprecated it.
"""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from models.deploy import SpanDeploy
from models.variants import NETWORKS

from .coreml_edges import Edges
from .coreml_library import load_coremltools, without_bars

TRACED_SIZE = (24, 32)
"""Size at which networks are exported where sizes are flexible; no constant depends on it."""


def float_model(network: SpanDeploy, *, recipe: str, edges: Edges, minimum_ios: int) -> Any:
    """The network as an `MLModel` that is not loaded.

    Args:
        network: the folded network, left unchanged.
        recipe: a row of `coreml_passes.FLOAT_PASSES`.
        edges: what an app gives and gets.
        minimum_ios: oldest iOS that must run it.
    """
    ct = load_coremltools()
    from .coreml_passes import pipeline

    exported = _exported(_Pixels(network, edges), edges)
    with without_bars(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*_TORCH_OPS_REGISTRY.__contains__", category=DeprecationWarning
        )
        return ct.convert(
            exported,
            convert_to="mlprogram",
            inputs=[edges.input_type()],
            outputs=[edges.output_type()],
            minimum_deployment_target=ct.target[f"iOS{minimum_ios}"],
            compute_precision=ct.transform.FP16ComputePrecision(op_selector=_is_past_pixels)
            if recipe == "fp16"
            else ct.precision.FLOAT32,
            pass_pipeline=pipeline(recipe),
            skip_model_load=True,
        )


class _Pixels(nn.Module):
    """The network from what an app gives to what it gets: pixels in 0..255 for images, [0, 1] for tensors.

    Mean and factor are brought to the pixels' scale, so that for images and a range of 255 the mean's
    subtraction is all that is left of the normalization. The mean cannot go into the first convolution: the
    padding is zero after it is subtracted.
    """

    mean: Tensor

    def __init__(self, network: SpanDeploy, edges: Edges) -> None:
        super().__init__()
        config = network.config
        self.network = network
        self.white = edges.white
        self.clips = edges.io == "image"
        self.gain = (config.img_range if config.normalize else 1.0) / self.white
        mean = (
            torch.tensor(config.rgb_mean, dtype=torch.float64) * self.white
            if config.normalize
            else torch.zeros(0)
        )
        self.register_buffer("mean", mean.float().view(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(1, C, H, W) -> (1, C_out, s*H, s*W), both in the app's scale."""
        x = image - self.mean if self.mean.numel() else image
        x = x * self.gain if self.gain != 1 else x
        config = self.network.config
        upscaled = NETWORKS[config.network].forward(dict(self.network.named_children()), x)
        return torch.clamp(upscaled * self.white, 0.0, self.white) if self.clips else upscaled


def _exported(network: _Pixels, edges: Edges) -> Any:
    """The network as an exported program whose nodes are named after the network's parts."""
    height, width = edges.sizes.default if edges.sizes.is_fixed else TRACED_SIZE
    channels = network.network.config.in_channels
    free = None if edges.sizes.is_fixed else ({2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning
        )
        program = torch.export.export(
            network.eval(), (torch.zeros(1, channels, height, width),), dynamic_shapes=free
        )
        program = program.run_decompositions({})
    for node in program.graph.nodes:
        if any(user.op == "output" for user in node.users):
            continue
        path = next(reversed(node.meta.get("nn_module_stack", {"": ("", "")}).values()))[0]
        part = path.removeprefix("network").strip(".").replace(".", "_")
        if node.op == "call_function" and part:
            node._rename(part if "conv2d" in node.name else f"{part}_{node.target.__name__.split('.')[0]}")
    return program


def _is_past_pixels(op: Any) -> bool:
    """Whether an operation computes in float16: all but the arithmetic on the pixels themselves.

    The pixels come as float32. Normalizing them before they are rounded to float16 saves a rounding of each,
    which is 1.5 to 2 dB of drift on real SPAN weights.
    """
    while op is not None and op.op_type in ("sub", "mul"):
        op = op.x.op
    return op is not None
