"""Quantization-aware training of small networks: it gains, resumes, stops, and never gives back a loss."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models import InputError, SpanConfig, SpanDeploy
from models.training import LossWeights, TrainingPair, TrainingPlan
from quantize import load_quantized, quantize_ptq, simulate
from quantize.kernels import Branches, Folded, TrainedName, trained_as
from quantize.ptq import EFFORTS
from quantize.qat import QatResult, QatSettings, parameter_groups, quantize_qat, trainable_from
from quantize.quantized import QuantizedSpan, QWeight

LOSS = LossWeights(pixel=0.0, distillation=1.0, luma_share=0.7, distance="squared", margin=8)
PLAN = TrainingPlan(steps=12, batch=4, validate_every=4, loss=LOSS, warm_up=0.1, ema_decay=0.9)
SETTINGS = QatSettings(plan=PLAN, crop=34, turned=False)
"""Random networks make something else of a turned image, so crops are not turned."""
RECIPES = ("w8", "w8a8", "w8a8_mixed")


def taught(network: SpanDeploy, frames: list[np.ndarray]) -> list[TrainingPair]:
    """Pairs whose original is what the float network makes: the drop is then a PSNR against it."""
    pairs = []
    for number, frame in enumerate(frames):
        lr = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            hr = (network(lr)[0].clamp(0, 1) * 255).round().permute(1, 2, 0).to(torch.uint8).numpy()
        pairs.append(TrainingPair(name=str(number), lr=frame, hr=hr))
    return pairs


def start_of(network: SpanDeploy, frames: list[np.ndarray], recipe: str = "w8a8") -> QuantizedSpan:
    return quantize_ptq(network, recipe=recipe, images=frames[:3], effort="smoke", source_name="float")


def spoilt(start: QuantizedSpan) -> QuantizedSpan:
    """The same with every integer weight a little off."""
    generator = torch.Generator().manual_seed(0)

    def off(weight: QWeight) -> QWeight:
        wrong = weight.values + torch.randint(-5, 6, weight.values.shape, generator=generator)
        return replace(weight, values=wrong.clamp(-127, 127).to(torch.int8))

    return replace(start, weights={name: off(weight) for name, weight in start.weights.items()})


def test_weights_beside_the_image_move_in_their_own_size_and_its_own_stay(
    network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    start, image = start_of(network, frames), network.config.in_channels + 1
    before = start.weights["output"].values.float()
    largest = [float(part.abs().max()) for part in (before[:, image:], before)]
    trainable = trainable_from(start)
    with torch.no_grad():
        for parameter in trainable.kernels.parameters():
            parameter += 20
    moved = trainable.quantized().weights["output"].values.float() - before
    assert moved[:, :image].abs().max() == 0
    assert moved[:, image:].median() == pytest.approx(20 * largest[0] / largest[1], abs=0.51)


def train(
    network: SpanDeploy, frames: list[np.ndarray], start: QuantizedSpan | None = None, **options: Any
) -> QatResult:
    pairs = taught(network, frames)
    given = {"training": pairs[:3], "held_out": pairs[3:], "settings": SETTINGS} | options
    return quantize_qat(network, start or start_of(network, frames), **given)


def equal(one: QuantizedSpan, two: QuantizedSpan) -> bool:
    return one.activations == two.activations and all(
        torch.equal(weight.values, two.weights[name].values)
        and torch.equal(weight.scale, two.weights[name].scale)
        and torch.equal(weight.bias, two.weights[name].bias)
        for name, weight in one.weights.items()
    )


def signalled(at: float, done: dict[str, bool]) -> Callable[[str, int, int, str], None]:
    """Progress that sends Ctrl-C once the share `at` of training is done."""

    def progress(stage: str, step: int, total: int, _detail: str = "") -> None:
        if stage == "training" and step / total >= at and not done.setdefault("sent", False):
            done["sent"] = True
            signal.raise_signal(signal.SIGINT)

    return progress


@pytest.mark.parametrize("trained", ["folded", "branches"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_training_starts_from_what_the_start_computes(
    recipe: str, trained: TrainedName, network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    start = start_of(network, frames, recipe)
    trainable = trainable_from(start, trained=trained)
    lr = torch.from_numpy(frames[3]).permute(2, 0, 1)[None] / 255
    exact = simulate(start, lr)
    with torch.no_grad():
        assert float((trainable.eval()(lr) - exact).abs().max()) <= 1.01 / 255
        # Output pixels are not rounded in training.
        difference = (trainable.train()(lr).clamp(0, 1) - exact.clamp(0, 1)).abs()
    assert float(difference.mean()) <= 0.5 / 255
    kept = trainable.quantized()
    assert all(torch.equal(w.values, start.weights[name].values) for name, w in kept.weights.items())
    assert kept.method == "qat" and kept.float_nodes == start.float_nodes
    assert kept.activations.keys() == start.activations.keys()


@pytest.mark.parametrize("trained", ["folded", "branches"])
def test_training_lowers_the_loss_and_gains_on_held_out_images(
    trained: TrainedName, network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    plan = replace(PLAN, steps=60, validate_every=20)
    settings = replace(SETTINGS, plan=plan, trained=trained, pace=5)
    result = train(network, frames, spoilt(start_of(network, frames)), settings=settings)
    curve = result.training.curve
    assert [point.step for point in curve] == [0, 20, 40, 60]
    assert curve[-1].loss < curve[1].loss
    assert result.gained_db > 1.5 and result.quantized.method == "qat"
    # The search that made the start took steps too.
    earlier = result.quantized.provenance.steps - result.training.best.step
    assert earlier in (0, EFFORTS["smoke"].steps)
    assert result.quantized.provenance.source_name == "float"


def test_what_was_trained_is_a_checkpoint_as_any_other(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path
) -> None:
    result = trainable_from(start_of(network, frames)).quantized()
    result.save(tmp_path / "q.safetensors")
    again = load_quantized(tmp_path / "q.safetensors")
    assert equal(result, again) and again.method == "qat"
    lr = torch.from_numpy(frames[3]).permute(2, 0, 1)[None] / 255
    assert torch.equal(simulate(result, lr), simulate(again, lr))


def test_wrong_labels_never_get_past_the_held_out_images(
    network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    pairs = taught(network, frames)
    wrong = [replace(pair, hr=255 - pair.hr) for pair in pairs[:3]]
    plan = replace(PLAN, loss=LossWeights(pixel=1.0, margin=8))
    start = start_of(network, frames)
    result = train(network, frames, start, training=wrong, settings=replace(SETTINGS, plan=plan, pace=30))
    assert result.quantized is start and result.gained_db == 0
    assert result.training.curve[-1].psnr_y_db < result.training.curve[0].psnr_y_db - 1


def test_an_interrupted_training_goes_on_to_the_same_result(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of(network, frames)
    whole = train(network, frames, start)
    clock = iter(np.arange(0, 10_000, 0.7))
    monkeypatch.setattr("models.training.engine.time.monotonic", lambda: float(next(clock)))
    state, heard = tmp_path / "state", {}
    half = train(network, frames, start, state_path=state, progress=signalled(0.4, heard))
    assert half.training.ended == "interrupted" and 0 < half.training.steps < 12
    assert half.gained_db >= 0
    resumed = train(network, frames, start, state_path=state, resume=True)
    assert resumed.training.ended == "finished"
    assert equal(whole.quantized, resumed.quantized)
    with pytest.raises(InputError, match=r'trained was "folded", is "branches"'):
        train(
            network,
            frames,
            start,
            state_path=state,
            resume=True,
            settings=replace(SETTINGS, trained="branches"),
        )


@pytest.mark.slow
def test_a_compiled_training_is_the_same_and_goes_on_to_the_same_result(
    network: SpanDeploy, frames: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = start_of(network, frames)
    settings = replace(SETTINGS, plan=replace(PLAN, compiled=True))
    eager, whole = (train(network, frames, start, settings=one) for one in (SETTINGS, settings))
    for mine, theirs in zip(whole.training.curve, eager.training.curve, strict=True):
        assert mine.psnr_y_db == pytest.approx(theirs.psnr_y_db, abs=0.05)
        assert mine.loss == pytest.approx(theirs.loss, rel=0.02)
    clock = iter(np.arange(0, 10_000, 0.7))
    monkeypatch.setattr("models.training.engine.time.monotonic", lambda: float(next(clock)))
    state, stop = tmp_path / "state", signalled(0.4, {})
    half = train(network, frames, start, settings=settings, state_path=state, progress=stop)
    assert half.training.ended == "interrupted"
    resumed = train(network, frames, start, settings=settings, state_path=state, resume=True)
    assert equal(whole.quantized, resumed.quantized)
    with pytest.raises(InputError, match="compiled was true, is false"):
        train(network, frames, start, state_path=state, resume=True)


def test_divergence_stops_with_a_clear_message(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    with pytest.raises(InputError, match=r"training diverged: .* NaN or infinite at step \d+ .*lower one"):
        train(network, frames, settings=replace(SETTINGS, pace=1e30))


def test_a_start_of_another_network_is_refused(network: SpanDeploy, frames: list[np.ndarray]) -> None:
    other = SpanDeploy(SpanConfig(feature_channels=4, concat_channels=4, upscale=2)).eval()
    with pytest.raises(InputError, match="is not one of this float network"):
        train(other, frames, start_of(network, frames))


def test_scales_are_frozen_late_and_fixed_ones_never_move(
    network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    start = start_of(network, frames)
    trainable = trainable_from(start)
    groups = {group.names[0].partition(".")[0]: group for group in parameter_groups(trainable, SETTINGS)}
    assert {name: group.until < 1 for name, group in groups.items()} == {
        "kernels": False, "biases": False, "log_weight_scales": True, "log_scales": True,
    }  # fmt: skip
    assert sum(len(group.names) for group in groups.values()) == len(list(trainable.parameters()))
    faster = parameter_groups(trainable, replace(SETTINGS, scales_pace=3))
    for group, before in zip(faster, groups.values(), strict=True):
        assert group.lr == pytest.approx(before.lr * (3 if group.names == ("log_scales",) else 1))
    with torch.no_grad():
        trainable.log_scales += 1
    moved, learned = trainable.activations(), {*trainable.learned_tensors}
    for node in start.network.nodes:
        if node.op in ("group", "times") and node.inputs[0] in learned:
            learned.add(node.name)
    for name, qparams in start.activations.items():
        factor = torch.e if name in learned else 1.0
        assert moved[name].scale == pytest.approx(factor * qparams.scale, rel=1e-5)
        assert moved[name].zero_point == qparams.zero_point
    fixed = {node.name for node in start.network.nodes if node.op in ("sigmoid", "center", "pixel_shuffle")}
    assert not fixed & {*trainable.learned_tensors}


@pytest.mark.parametrize("trained", ["folded", "branches"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_parameter_learns(
    recipe: str, trained: TrainedName, network: SpanDeploy, frames: list[np.ndarray]
) -> None:
    trainable = trainable_from(start_of(network, frames, recipe), trained=trained).train()
    lr = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2) / 255
    trainable(lr).square().mean().backward()
    learned = {name: p for name, p in trainable.named_parameters() if p.requires_grad}
    assert [name for name, p in learned.items() if p.grad is None or not p.grad.any()] == []
    grouped = [name for group in parameter_groups(trainable, SETTINGS) for name in group.names]
    assert sorted(grouped) == sorted(learned)
    assert ("log_scales" in learned) == (recipe != "w8")


def test_branches_fold_to_the_weights_they_start_from_and_learn_as_one_convolution() -> None:
    units = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * 20
    branches = trained_as("branches", units, seed=1)
    assert isinstance(branches, Branches)
    torch.testing.assert_close(branches(), units, rtol=1e-5, atol=1e-4)
    image = torch.randn(1, 4, 7, 7)

    def unfolded(x: Tensor) -> Tensor:
        padded = nn.functional.pad(x, (1, 1, 1, 1))
        inner = nn.functional.conv2d(padded, branches.first)
        inner = nn.functional.conv2d(nn.functional.conv2d(inner, branches.middle), branches.last)
        direct = nn.functional.conv2d(padded, branches.direct)
        return inner + direct + nn.functional.conv2d(x, branches.skip)

    folded = nn.functional.conv2d(image, branches(), padding=1)
    torch.testing.assert_close(folded, unfolded(image), rtol=1e-4, atol=1e-3)
    names = [name for name, _ in branches.named_parameters()]
    one, two = (torch.autograd.grad(out.square().sum(), list(branches.parameters())) for out in (
        nn.functional.conv2d(image, branches(), padding=1), unfolded(image)))  # fmt: skip
    for name, a, b in zip(names, one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-1, msg=name)
    assert isinstance(trained_as("branches", units[:, :, :1, :1], seed=1), Folded)
