"""Post-training quantization: from a folded network and images to a `QuantizedSpan`.

rewrite -> balance -> ranges -> compensated rounding -> learning. `fast` and `best` differ in the
last step's length.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal
from zipfile import is_zipfile

import torch
from torch import Tensor

from models import SpanDeploy
from models.errors import InputError
from models.files import written_whole
from models.progress import Progress, silent

from .balance import balance
from .calibration import CalibrationSet, Frame
from .graph import IMAGE, UPSCALED, Node, SpanNodes
from .learn import Learner, learn, new_optimizer, output_error
from .quantized import Provenance, QParams, QuantizedSpan, QWeight, plain_conv, simulate
from .ranges import Sample, best_range, observe
from .recipe import Recipe, recipe_named
from .rewrite import MASK, rewrite
from .rounding import compensated, input_moments, nearest, resettled
from .sensitivity import choose_float_nodes

EffortName = Literal["smoke", "fast", "best"]
PIXEL = 1 / 255
KEEP_EVERY = 20
"""Steps of learning between two states kept for `resume`."""

JUDGING_DRAW = 2**31
"""Number of the draw of the crops on which learning has to have helped: no step uses it."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long the search takes.

    Attributes:
        crops: for ranges and for rounding.
        side: of a crop.
        steps: of learning.
        batch: crops per step.
    """

    crops: int
    side: int
    steps: int
    batch: int


EFFORTS: dict[EffortName, Effort] = {
    "smoke": Effort(crops=2, side=24, steps=2, batch=1),
    "fast": Effort(crops=24, side=48, steps=0, batch=4),
    "best": Effort(crops=24, side=48, steps=280, batch=4),
}

FIXED_SCALES: dict[str, dict[str, tuple[float, int]]] = {
    "int8": {"sigmoid": (1 / 256, -128), "center": (1 / 256, 0), "pixels": (PIXEL, -128)},
    "int16": {"sigmoid": (1 / 32768, 0), "center": (1 / 32768, 0), "pixels": (PIXEL / 64, 0)},
}
"""Scale and zero point that a kernel or the file's edge dictates; TFLite's LOGISTIC has no others."""


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
        resume: a file in which learning leaves its state now and then, and from which it goes on; removed at
            the end.
        progress: told what is being done.

    Raises:
        InputError: the recipe does not exist or has no integer weights, or the images cannot be used.
    """
    row = recipe_named(recipe)
    if row.weight_bits is None:
        raise InputError(f"recipe {recipe} has no integer weights and is not calibrated; convert it directly")
    calibration = CalibrationSet.of(images, channels=network.config.in_channels, seed=seed)
    plan = EFFORTS[effort]
    start = prepare(network, row, calibration, plan, progress)
    learner = Learner(start.nodes, start.weights, start.activations, fixed_names(start.nodes))
    run_key = f"{recipe} {effort} {seed} {calibration.sha256} {_fingerprint(network)}"
    done, optimizer, keep = resumable(learner, resume, run_key)
    learn(
        learner,
        lambda step: calibration.crops(plan.batch, plan.side, draw=step + 1),
        steps=plan.steps,
        done=done,
        optimizer=optimizer,
        after=keep,
        progress=progress,
    )
    if resume is not None:
        resume.unlink(missing_ok=True)
    provenance = Provenance(
        source_name=source_name,
        source_sha256=source_sha256,
        effort=effort,
        seed=seed,
        images=len(images),
        images_sha256=calibration.sha256,
        steps=plan.steps,
    )
    before = assemble(start, row, replace(provenance, steps=0))
    if plan.steps == 0:
        return before
    after = assemble(settle(start, learner, calibration.crops(plan.crops, plan.side)), row, provenance)
    judges = calibration.crops(plan.crops, plan.side, draw=JUDGING_DRAW)
    aim = network(judges).clamp(0, 1)
    return min(before, after, key=lambda made: float(output_error(simulate(made, judges).clamp(0, 1), aim)))


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
    """Everything before learning: rewrite, balance, ranges, rounded weights."""
    nodes = rewrite(network)
    crops = calibration.crops(plan.crops, plan.side)
    balance(nodes, crops)
    samples = observe(nodes, crops, seed=calibration.seed, progress=progress)
    activations = choose_ranges(nodes, recipe, samples)
    float_nodes: tuple[str, ...] = ()
    if recipe.mixed:
        float_nodes, activations = choose_float_nodes(nodes, activations, samples)
    weights = round_weights(nodes, samples, activations, progress)
    return Start(nodes=nodes, weights=weights, activations=activations, float_nodes=float_nodes)


def resumable(
    learner: Learner, path: Path | None, run_key: str
) -> tuple[int, torch.optim.Optimizer, Callable[[int, torch.optim.Optimizer], None]]:
    """Steps done before, Adam as it was then, and what to call after each step to keep both.

    Args:
        learner: gets the state in the file, if there is one.
        path: the file; None to keep nothing.
        run_key: what the run is of; a file of another run is refused.

    Raises:
        InputError: the file is of another run, or no such file at all.
    """
    optimizer, done = new_optimizer(learner), 0
    if path is not None and path.exists():
        if not is_zipfile(path):
            raise InputError(f"{path} is no state of a quantization; remove it or name another")
        try:
            state = torch.load(path, weights_only=True)
            if state["run"] != run_key:
                raise InputError(
                    f"{path} is of another run (other recipe, effort, seed, images or weights); "
                    "remove it or name another"
                )
            learner.load_state_dict(state["learner"])
            optimizer.load_state_dict(state["optimizer"])
            done = state["done"]
        except (KeyError, RuntimeError, UnpicklingError, EOFError) as error:
            raise InputError(f"{path} is no state of a quantization; remove it or name another") from error

    def keep(steps: int, adam: torch.optim.Optimizer) -> None:
        if path is not None and steps % KEEP_EVERY == 0:
            with written_whole(path, overwrite=True) as scratch:
                torch.save(
                    {
                        "run": run_key,
                        "done": steps,
                        "learner": learner.state_dict(),
                        "optimizer": adam.state_dict(),
                    },
                    scratch,
                )

    return done, optimizer, keep


def _fingerprint(network: SpanDeploy) -> str:
    digest = hashlib.sha256(repr(network.config).encode())
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def fixed_names(nodes: SpanNodes) -> frozenset[str]:
    """Convolutions whose weights are exact already, and tensors whose scale is dictated."""
    names = {IMAGE, MASK, UPSCALED, *(node.inputs[0] for node in nodes.nodes if node.name == UPSCALED)}
    tensors = {node.name for node in nodes.nodes if node.op in ("sigmoid", "center")}
    return frozenset(names - set(nodes.conv_names()) | tensors | exact_convs(nodes))


def exact_convs(nodes: SpanNodes) -> frozenset[str]:
    """Convolutions that any scale represents exactly: one weight per channel, and the image's copy."""
    return frozenset(
        name
        for name in nodes.conv_names()
        if name == MASK or nodes.conv(name).groups == nodes.conv(name).in_channels > 1
    )


def round_weights(
    nodes: SpanNodes,
    samples: Mapping[str, Sample],
    activations: Mapping[str, QParams],
    progress: Progress = silent,
) -> dict[str, QWeight]:
    """Every convolution's weights as integers, in the order in which data passes them.

    Each is fitted to the inputs that it gets in the integer network, with all rounding before it.
    """
    weights: dict[str, QWeight] = {}
    exact, names = exact_convs(nodes), nodes.conv_names()
    rounded: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        rounded[name] = activations[name].rounded(value) if name in activations else value
        return rounded[name]

    def weight(name: str) -> tuple[Tensor, Tensor]:
        conv, source = nodes.conv(name), next(node.inputs[0] for node in nodes.nodes if node.name == name)
        progress("round weights", len(weights), len(names), name)
        if name in exact:
            weights[name] = nearest(conv)
        else:
            moments = input_moments(conv, samples[source].values, rounded[source], samples[name].weights)
            weights[name] = compensated(conv, moments)
        return weights[name].kernel(), weights[name].bias

    with torch.no_grad():
        nodes.run(samples[IMAGE].values, weight=weight, tensor=keep)
    progress("round weights", len(names), len(names))
    return weights


def settle(start: Start, learner: Learner, lr_nchw: Tensor) -> Start:
    """What was learned, its weights as integers again.

    Args:
        start: where learning started.
        learner: after it.
        lr_nchw: (N, C, H, W) in [0, 1]: crops whose inputs of convolutions weigh the rounding errors.
    """
    activations = learner.learned_scales()
    samples = observe(start.nodes, lr_nchw, probes=1)
    source = {node.name: node.inputs[0] for node in start.nodes.nodes}
    weights, fixed = dict(start.weights), fixed_names(start.nodes)
    rounded: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        rounded[name] = activations[name].rounded(value) if name in activations else value
        return rounded[name]

    def weight(name: str) -> tuple[Tensor, Tensor]:
        if name not in fixed:
            kernel, bias = learner.weight(name)
            inputs = rounded[source[name]]
            moments = input_moments(start.nodes.conv(name), inputs, inputs, samples[name].weights)
            weights[name] = resettled(kernel, bias, start.weights[name], moments.rounded)
        return weights[name].kernel(), weights[name].bias

    with torch.no_grad():
        start.nodes.run(lr_nchw, weight=weight, tensor=keep)
    return replace(start, weights=weights, activations=activations)


def choose_ranges(nodes: SpanNodes, recipe: Recipe, samples: dict[str, Sample]) -> dict[str, QParams]:
    """Scale and zero point of every tensor; none where the recipe leaves activations in floating point."""
    if recipe.activation_bits is None:
        return {}
    dtype: Literal["int8", "int16"] = "int8" if recipe.activation_bits == 8 else "int16"
    tensors = [Node(name=IMAGE, op="center", inputs=()), *nodes.nodes]
    return {node.name: _qparams(node, nodes, samples[node.name], dtype) for node in tensors}


def _qparams(node: Node, nodes: SpanNodes, sample: Sample, dtype: Literal["int8", "int16"]) -> QParams:
    fixed = FIXED_SCALES[dtype]
    if node.name in (IMAGE, MASK, UPSCALED) or nodes.consumers(node.name)[0].op == "pixel_shuffle":
        scale, zero_point = (PIXEL, 0) if dtype == "int16" and node.name in (IMAGE, MASK) else fixed["pixels"]
        return QParams(scale=scale, zero_point=zero_point, dtype=dtype)
    if node.op in fixed:
        return QParams(scale=fixed[node.op][0], zero_point=fixed[node.op][1], dtype=dtype)
    if dtype == "int16":
        return QParams(scale=float(sample.values.abs().max()) * 1.25 / 32767, zero_point=0, dtype=dtype)
    if nodes.op_of(node.inputs[0]) == "sigmoid":
        return QParams(scale=1 / 256, zero_point=0)
    low, high = best_range(sample)
    scale = (high - low) / 255
    return QParams(scale=scale, zero_point=max(-128, min(127, round(-128 - low / scale))))


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
