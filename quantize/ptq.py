"""Post-training quantization: from a folded network and images to a `QuantizedSpan`.

rewrite -> balance -> split -> ranges -> compensated rounding; `best` does that several times, keeps what
comes nearest to the float network, and learns from there.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from models import SpanDeploy
from models.errors import InputError
from models.progress import Progress, silent

from .balance import balance, place_image
from .calibration import CalibrationSet, Frame
from .graph import IMAGE, UPSCALED, Node, SpanNodes
from .learn import learn
from .quantized import Provenance, QParams, QuantizedSpan, QWeight, plain_conv
from .ranges import Sample, observe
from .recipe import Recipe, recipe_named
from .rewrite import MASKS, rewrite
from .rounding import (
    DAMPING,
    DAMPING_OF_ROUNDED,
    UNDONE_OF_ROUNDED,
    Moments,
    compensated,
    input_moments,
    nearest,
)
from .scales import RELABELS, TABLES, choose_ranges
from .sensitivity import choose_float_nodes
from .split import split
from .start_file import start_path
from .starts import Kept, nearest_start
from .text import mastered, pages, small

EffortName = Literal["smoke", "fast", "best"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long the search takes.

    Attributes:
        crops: of photographs, for ranges and for rounding.
        text: crops of drawn text beside.
        side: of a crop.
        starts: how many times all this is done, of which the best is kept.
        steps: of learning.
        batch: crops per step.
    """

    crops: int
    text: int
    side: int
    starts: int
    steps: int
    batch: int


EFFORTS: dict[EffortName, Effort] = {
    "smoke": Effort(crops=2, text=4, side=24, starts=1, steps=2, batch=1),
    "fast": Effort(crops=24, text=12, side=48, starts=1, steps=0, batch=4),
    "best": Effort(crops=24, text=12, side=48, starts=8, steps=280, batch=4),
}


def quantize_ptq(
    network: SpanDeploy,
    *,
    recipe: str,
    images: Sequence[Frame],
    effort: EffortName = "fast",
    seed: int = 0,
    source_name: str = "",
    source_sha256: str = "",
    resume: Path | None = None,
    progress: Progress = silent,
) -> QuantizedSpan:
    """Quantize a folded network.

    Args:
        network: left unchanged.
        recipe: a row of `RECIPES` with integer weights.
        images: low-resolution frames, (H, W, C), uint8; never those that it will be judged on.
        effort: row of `EFFORTS`.
        seed: of every random draw; the same seed and images give the same result on the same machine.
        source_name: name of the float checkpoint, for the record.
        source_sha256: its hash, for the record.
        resume: a file in which learning leaves its state now and then, and from which it goes on, as the
            search for a start does from the file `start_path` beside it; both removed at the end.
        progress: told what is being done.

    Raises:
        InputError: the recipe does not exist or has no integer weights, the network's output does not depend
            on the image, the images cannot be used, or the state is of another search.
        KeyboardInterrupt: the user wants to stop; the state is kept.
    """
    row = recipe_named(recipe)
    if row.weight_bits is None:
        raise InputError(f"recipe {recipe} has no integer weights and is not calibrated; convert it directly")
    calibration = CalibrationSet.of(images, channels=network.config.in_channels, seed=seed)
    _refuse_blind(network)
    plan = EFFORTS[effort]
    provenance = Provenance(
        source_name=source_name,
        source_sha256=source_sha256,
        effort=effort,
        seed=seed,
        images=len(images),
        images_sha256=calibration.sha256,
    )

    def make(drawn: CalibrationSet, progress: Progress) -> QuantizedSpan:
        return assemble(prepare(network, row, drawn, plan, progress), row, provenance)

    kept, fingerprint = None, _fingerprint(network)
    if resume is not None:
        record = replace(provenance, source_sha256=fingerprint)
        kept = Kept(path=start_path(resume), recipe=recipe, record=record)
    if plan.starts == 1:
        made = make(calibration, progress)
    else:
        made = nearest_start(network, calibration, make, starts=plan.starts, kept=kept, progress=progress)
        made = replace(made, provenance=replace(made.provenance, source_sha256=source_sha256))
    if plan.steps:
        identity = {"effort": effort, "frames": calibration.sha256, "float network": fingerprint}
        made = learn(
            network,
            made,
            calibration,
            steps=plan.steps,
            batch=plan.batch,
            side=plan.side,
            identity={"recipe": recipe, **identity},
            state=resume,
            progress=progress,
        )
    if kept is not None:
        kept.path.unlink(missing_ok=True)
    return made


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where learning starts.

    Attributes:
        nodes: the rewritten, balanced network, in float.
        weights: its weights, rounded.
        activations: its tensors' scales.
        float_nodes: nodes that stay in floating point.
    """

    nodes: SpanNodes
    weights: dict[str, QWeight]
    activations: dict[str, QParams]
    float_nodes: tuple[str, ...] = ()


def prepare(
    network: SpanDeploy,
    recipe: Recipe,
    calibration: CalibrationSet,
    plan: Effort,
    progress: Progress = silent,
) -> Start:
    """Everything before learning: rewrite, balance, split, ranges, rounded weights."""
    crops = calibration.crops(plan.crops, plan.side)
    nodes = rearranged(network, recipe, crops, seed=calibration.seed)
    text = text_it_masters(nodes, plan.text, crops.shape[-1], seed=calibration.seed)
    samples = observe(nodes, crops, seed=calibration.seed, progress=progress)
    edges = observe(nodes, text, seed=calibration.seed, stage="observe text", progress=progress)
    activations: dict[str, QParams] = {}
    if recipe.activation_bits is not None:
        activations = choose_ranges(nodes, recipe, samples, edges)
        place_image(nodes, (samples, edges), activations)
    float_nodes: tuple[str, ...] = ()
    if recipe.mixed:
        float_nodes, activations = choose_float_nodes(nodes, activations, samples)
    weights = round_weights(nodes, samples, edges, activations, progress)
    return Start(nodes=nodes, weights=weights, activations=activations, float_nodes=float_nodes)


def rearranged(network: SpanDeploy, recipe: Recipe, crops: Tensor, *, seed: int) -> SpanNodes:
    """The network as nodes that round well, equal to it in float.

    Args:
        network: left unchanged.
        recipe: what it is made for.
        crops: (N, C, H, W) in [0, 1], by which factors, mixtures and groups of channels are chosen.
        seed: of the directions in which their errors are measured.
    """
    nodes = rewrite(network, activation_bits=recipe.activation_bits)
    balance(nodes, crops, activation_bits=recipe.activation_bits)
    if recipe.activation_bits != 8:
        return nodes
    return split(nodes, observe(nodes, crops, probes=1, seed=seed))


def _refuse_blind(network: SpanDeploy) -> None:
    """Refuse a network whose output does not depend on the image, of which no error can be measured."""
    with torch.no_grad():
        seen = network(small(pages(1, 24, channels=network.config.in_channels)))
    if torch.equal(seen.amax((2, 3)), seen.amin((2, 3))):
        raise InputError(
            "the network gives one flat colour whatever the image: its weights are zero, or almost; "
            "give a trained checkpoint"
        )


def text_it_masters(network: SpanNodes, count: int, side: int, *, seed: int) -> Tensor:
    """Of twice as many drawn pages those that the float network overshoots least, (count, C, side, side)."""
    drawn = small(pages(2 * count, side, channels=network.config.in_channels, seed=seed))
    return drawn[mastered(network, drawn)]


def _fingerprint(network: SpanDeploy) -> str:
    digest = hashlib.sha256(repr(network.config).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def fixed_names(nodes: SpanNodes) -> frozenset[str]:
    """Convolutions whose weights are exact already, and tensors whose scale is dictated."""
    names = {IMAGE, UPSCALED, *(node.inputs[0] for node in nodes.nodes if node.name == UPSCALED)}
    for joined, sources in nodes.joined().items():
        if not set(MASKS).isdisjoint(sources):
            names |= {joined, *sources}
    tensors = {node.name for node in nodes.nodes if node.op in TABLES or node.op in RELABELS}
    return frozenset(names - set(nodes.conv_names()) | tensors | exact_convs(nodes))


def one_scale(nodes: SpanNodes) -> dict[str, str]:
    """By name, tensors that have another's scale: a `concat` and what it joins, that of the first one."""
    return {
        tensor: sources[0]
        for joined, sources in nodes.joined().items()
        for tensor in (joined, *sources[1:])
        if set(MASKS).isdisjoint(sources)
    }


def exact_convs(nodes: SpanNodes) -> frozenset[str]:
    """Convolutions that any scale represents exactly: one weight per channel, and the image's copy."""
    return frozenset(
        name
        for name in nodes.conv_names()
        if name in MASKS or nodes.conv(name).groups == nodes.conv(name).in_channels > 1
    )


def round_weights(
    nodes: SpanNodes,
    samples: Mapping[str, Sample],
    edges: Mapping[str, Sample],
    activations: Mapping[str, QParams],
    progress: Progress = silent,
) -> dict[str, QWeight]:
    """Every convolution's weights as integers, in the order in which data passes them.

    Each is fitted to the inputs that it gets in the integer network, with all rounding before it.

    Args:
        nodes: rewritten and balanced.
        samples: of its tensors on photographs.
        edges: on text.
        activations: scales and zero points of those that have integers.
        progress: told of every convolution.
    """
    weights: dict[str, QWeight] = {}
    in_8_bits = any(qparams.dtype == "int8" for qparams in activations.values())
    damping, undone = (DAMPING_OF_ROUNDED, UNDONE_OF_ROUNDED) if in_8_bits else (DAMPING, 1.0)
    exact, names = exact_convs(nodes), nodes.conv_names()
    text = len(edges[IMAGE].values)
    known: dict[tuple[str, int], Moments] = {}

    def moments(node: Node, rounded: Tensor) -> Moments:
        """Of what the convolution reads; the same for all that read it with a kernel of one size."""
        source, size = node.inputs[0], nodes.conv(node.name).kernel_size[0]
        if (source, size) not in known:
            known.clear()
            readers = {one.name for one in nodes.consumers(source) if one.op == "conv2d"} - exact
            alike = [name for name in names if name in readers and nodes.conv(name).kernel_size[0] == size]
            values = torch.cat([one[source].values for one in (samples, edges)])
            costs = [torch.cat([one[name].weights for name in alike], dim=1) for one in (samples, edges)]
            found = input_moments(nodes.conv(node.name), values, rounded, torch.cat(costs), text=text)
            known[source, size] = found
        return known[source, size]

    def compute(node: Node, given: list[Tensor]) -> Tensor:
        name = node.name
        if node.op != "conv2d":
            return nodes.compute(node, given)
        progress("round weights", len(weights), len(names), name)
        if name in exact:
            weights[name] = nearest(nodes.conv(name))
        else:
            found = moments(node, given[0])
            weights[name] = compensated(nodes.conv(name), found, damping=damping, undone=undone)
        return nodes.convolve(node, given[0], weights[name].kernel(), weights[name].bias)

    def keep(name: str, value: Tensor) -> Tensor:
        return activations[name].rounded(value) if name in activations else value

    with torch.no_grad():
        nodes.run(torch.cat([samples[IMAGE].values, edges[IMAGE].values]), compute=compute, tensor=keep)
    progress("round weights", len(names), len(names))
    return weights


def assemble(start: Start, recipe: Recipe, provenance: Provenance) -> QuantizedSpan:
    """The parts as one object, its network holding exactly the kernels that the integers stand for."""
    nodes = start.nodes
    convs = {name: plain_conv(weight, nodes.conv(name).groups) for name, weight in start.weights.items()}
    return QuantizedSpan(
        config=nodes.config,
        recipe=recipe.name,
        method="ptq",
        network=SpanNodes(nodes.config, nodes.nodes, convs).eval(),
        weights=start.weights,
        activations=start.activations,
        float_nodes=start.float_nodes,
        provenance=provenance,
    )
