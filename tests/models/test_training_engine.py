"""The loop: repeatable, resumable, stoppable, and loud when it diverges."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from models import InputError, SpanConfig
from models.training import (
    CropSource,
    FoldedSpan,
    LossWeights,
    ParameterGroup,
    Point,
    TrainingPair,
    TrainingPlan,
    TrainingResult,
    initialize,
    train,
)
from models.training.plan import step_size_factor

SCALE = 2
PLAN = TrainingPlan(steps=12, batch=2, validate_every=4, warm_up=0.1)


def pair(seed: int) -> TrainingPair:
    """Smooth colour at high resolution, its 2x2 means at low."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    hr = nn.functional.interpolate(coarse, size=(40, 40), mode="bicubic").clamp(0, 1) * 255
    lr = nn.functional.avg_pool2d(hr, SCALE)
    hr_hwc, lr_hwc = (image[0].permute(1, 2, 0).round().to(torch.uint8).numpy() for image in (hr, lr))
    return TrainingPair(name=f"image {seed}", lr=lr_hwc, hr=hr_hwc)


PAIRS = [pair(seed) for seed in range(4)]
CROPS = CropSource(PAIRS[1:], scale=SCALE, crop=8)


def network() -> FoldedSpan:
    config = SpanConfig(feature_channels=4, concat_channels=4, upscale=SCALE, img_range=1.0)
    return FoldedSpan(initialize(config, seed=0, sample=CROPS.batch(size=2, seed=0, step=0).lr))


def run(
    trained: nn.Module | None = None, *, plan: TrainingPlan = PLAN, lr: float = 1e-3, **options: Any
) -> TrainingResult:
    trained = trained or network()
    names = tuple(name for name, _ in trained.named_parameters())
    options = {
        "groups": [ParameterGroup(names=names, lr=lr)],
        "crops": CROPS,
        "validation": PAIRS[:1],
    } | options
    return train(trained, plan=plan, **options)


def interrupt_at(step: int, number: signal.Signals = signal.SIGINT) -> Callable[[nn.Module, float], None]:
    """A hook that sends this process a signal just before a step, once."""
    calls = []

    def hook(_network: nn.Module, done: float) -> None:
        calls.append(done)
        if len(calls) == 2 * step + 1:
            signal.raise_signal(number)

    return hook


def same(one: nn.Module, two: nn.Module) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_gains_and_gives_back_the_best() -> None:
    heard: list[Point] = []
    result = run(plan=replace(PLAN, steps=24), lr=3e-3, on_validation=heard.append)
    assert result.ended == "finished" and result.steps == 24
    assert [point.step for point in result.curve] == list(range(4, 25, 4)) and list(result.curve) == heard
    assert result.best is not None and result.best.psnr_y_db == max(point.psnr_y_db for point in heard)
    assert result.best.psnr_y_db > heard[0].psnr_y_db + 0.1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_resumed_training_ends_as_an_uninterrupted_one_to_the_bit(
    tmp_path: Path, number: signal.Signals
) -> None:
    trained = network()
    whole = run(trained)
    handler = signal.getsignal(number)
    state = tmp_path / "state.safetensors"
    half = run(state_path=state, before_step=interrupt_at(6, number))
    assert half.ended == "interrupted" and half.steps == 7 and half.best is not None
    assert signal.getsignal(number) is handler
    resumed_network = network()
    resumed = run(resumed_network, state_path=state, resume=True)
    assert same(trained, resumed_network) and same(whole.network, resumed.network)
    assert [(p.step, p.loss, p.psnr_y_db) for p in whole.curve] == [
        (p.step, p.loss, p.psnr_y_db) for p in resumed.curve
    ]
    assert resumed.ended == "finished" and resumed.steps == 12


def test_another_seed_gives_another_result() -> None:
    plan = replace(PLAN, steps=4)
    first = run(plan=plan).network
    assert same(first, run(plan=plan).network)
    assert not same(first, run(plan=replace(plan, seed=1)).network)


def test_state_of_another_training_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    run(state_path=state, identity={"data": "a"}, before_step=interrupt_at(2))
    with pytest.raises(
        InputError, match=r'another training: data was "a", is "b", seed was 0, is 1; give the settings'
    ):
        run(state_path=state, identity={"data": "b"}, plan=replace(PLAN, seed=1), resume=True)


def test_absent_and_damaged_states_are_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    with pytest.raises(
        InputError, match=r"there is no .*state\.safetensors to resume from; leave --resume out"
    ):
        run(state_path=state, resume=True)
    run(state_path=state, before_step=interrupt_at(2))
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"damaged or not the state of a training .*; begin again without --resume"
    ):
        run(state_path=state, resume=True)


def test_state_is_data_only(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    run(state_path=state)
    with safe_open(state, framework="pt") as file:
        assert {key.partition(":")[0] for key in file.keys()} == {  # noqa: SIM118
            "network", "average", "best", "meter", "exp_avg", "exp_avg_sq", "step",
        }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def test_divergence_stops_with_the_rate_and_where_the_best_is(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"NaN or infinite at step \d+ \(learning rate 1e\+30\); begin again with a lower one$",
    ):
        run(lr=1e30)

    def spoil(trained: nn.Module, done: float) -> None:
        if done > 0.5:
            next(trained.parameters()).data.fill_(float("nan"))

    state = tmp_path / "state.safetensors"
    kept: list[TrainingResult] = []
    message = r"at step 8 .*; the best until then \(\d+\.\d\d dB at step 4\) was kept"
    with pytest.raises(InputError, match=message):
        run(state_path=state, before_step=spoil, keep=kept.append)
    assert [one.ended for one in kept] == ["diverged"]
    assert all(bool(tensor.isfinite().all()) for tensor in kept[0].network.state_dict().values())
    assert not state.exists()
    with pytest.raises(InputError, match=r"lower one$"):
        run(state_path=state, plan=replace(PLAN, checkpoint_minutes=1e-9), before_step=spoil)
    with safe_open(state, framework="pt") as file:
        assert all(bool(file.get_tensor(key).isfinite().all()) for key in file.keys())  # noqa: SIM118


def test_best_so_far_is_handed_out_when_the_state_is_saved(tmp_path: Path) -> None:
    kept: list[TrainingResult] = []
    plan = replace(PLAN, checkpoint_minutes=1e-9)
    result = run(plan=plan, state_path=tmp_path / "state.safetensors", keep=kept.append)
    bests = [one.best.psnr_y_db for one in kept if one.best is not None]
    assert bests == sorted(set(bests)) and len(bests) == len(kept) > 0
    assert same(kept[-1].network, result.network)


def test_training_ends_early_where_nothing_is_gained() -> None:
    result = run(lr=1e-30, plan=replace(PLAN, patience=2))
    assert result.ended == "no gain" and result.steps == 12


def test_minutes_are_kept() -> None:
    result = run(plan=replace(PLAN, steps=None, minutes=0.02))
    assert result.ended == "finished" and 1.2 <= result.seconds < 10
    assert result.curve[-1].step == result.steps > 1


def test_time_can_be_given_anew_on_resuming(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    plan = replace(PLAN, steps=None, minutes=1000.0)
    begun = run(plan=plan, state_path=state, before_step=interrupt_at(2))
    spent = replace(plan, minutes=1e-9)
    ended = run(plan=spent, state_path=state, resume=True)
    assert begun.ended == "interrupted" and ended.ended == "finished" and ended.steps == begun.steps
    with pytest.raises(InputError, match=r"minutes was true, is false"):
        run(state_path=state, resume=True)


class Affine(nn.Module):
    """Nearest neighbour with a gain and an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.5))

    def forward(self, lr: Tensor) -> Tensor:
        return lr.repeat_interleave(SCALE, dim=2).repeat_interleave(SCALE, dim=3) * self.gain + self.offset


def test_every_group_has_its_own_step_size_and_the_average_its_decay() -> None:
    trained = Affine()
    values: list[float] = []
    averages: list[float] = []

    def watch(one: nn.Module, _done: float) -> None:
        assert isinstance(one, Affine)
        (values if one is trained else averages).append(float(one.offset.detach()))

    groups = [ParameterGroup(names=("offset",), lr=1e-2)]
    plan = replace(PLAN, steps=4, warm_up=0.0, floor=0.0, ema_decay=0.3)
    run(trained, plan=plan, groups=groups, before_step=watch)
    # Adam's first step is the step size itself; the cosine then has 1, 0.85, 0.5, 0.15 of it.
    assert values[0] - values[1] == pytest.approx(1e-2, rel=1e-3)
    assert trained.gain.item() == 1.0
    expected = values[0]
    for k, value in enumerate(values[1:], start=1):
        decay = min(0.3, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * value
        assert averages[k] == pytest.approx(expected, rel=1e-6)


def test_a_group_stays_as_it_is_from_its_end_on() -> None:
    trained = Affine()
    seen: list[tuple[float, float]] = []

    def watch(one: nn.Module, _done: float) -> None:
        if one is trained:
            seen.append((trained.offset.item(), trained.gain.item()))

    groups = [
        ParameterGroup(names=("offset",), lr=1e-2, until=0.5),
        ParameterGroup(names=("gain",), lr=1e-2),
    ]
    run(trained, plan=replace(PLAN, steps=8, warm_up=0.0), groups=groups, before_step=watch)
    offsets, gains = zip(*seen, strict=True)
    assert len({*offsets[:5]}) == 5 and len({*offsets[4:]}) == 1 and len({*gains}) == 8


def test_what_training_was_given_counts_as_a_candidate() -> None:
    heard: list[Point] = []
    trained = network()
    start = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    plan = replace(PLAN, validate_first=True, loss=LossWeights(pixel=-1.0))
    result = run(trained, plan=plan, lr=1e-2, on_validation=heard.append)
    assert [point.step for point in heard] == [0, 4, 8, 12] and result.best == heard[0]
    assert all(torch.equal(tensor, start[name]) for name, tensor in result.network.state_dict().items())


def test_crops_that_are_all_margin_are_refused() -> None:
    with pytest.raises(InputError, match=r"nothing is left of crops of 8 LR pixels with a margin of 4"):
        run(plan=replace(PLAN, loss=LossWeights(margin=4)))


def test_wrong_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no such parameter, or named twice: bias, gain"):
        run(
            Affine(),
            groups=[ParameterGroup(names=("gain", "bias"), lr=1.0), ParameterGroup(names=("gain",), lr=1.0)],
        )


def test_no_image_to_validate_on_is_refused() -> None:
    with pytest.raises(InputError, match=r"no image to validate on; hold out at least one"):
        run(validation=[])


def test_schedule() -> None:
    plan = TrainingPlan(steps=1, warm_up=0.1, floor=0.2)
    assert [step_size_factor(plan, done) for done in (0, 0.05, 0.1, 0.55, 1, 2)] == pytest.approx(
        [0, 0.5, 1, 0.6, 0.2, 0.2]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": None}, r"either a number of steps or a number of minutes"),
        ({"minutes": 3.0}, r"either a number of steps or a number of minutes"),
        (
            {"batch": 0, "floor": 1.0},
            r"cannot train with batch 0, floor 1\.0; .*are positive, warm_up, floor",
        ),
        ({"steps": None, "minutes": float("nan")}, r"cannot train with minutes nan"),
    ],
)
def test_plans_that_cannot_be_done_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(PLAN, **changes)


def test_progress_tells_loss_psnr_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int, str]] = []
    clock = iter(np.arange(0, 1000, 0.7))
    monkeypatch.setattr("models.training.engine.time.monotonic", lambda: float(next(clock)))
    run(progress=lambda *said: told.append(said))
    assert told[-1] == ("training", 12, 12, "finished")
    assert any("loss 0." in said[3] and "dB" in said[3] and said[3].endswith("s left") for said in told)
