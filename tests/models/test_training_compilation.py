"""Training that is compiled first: the same training, or one line where there is no compiler."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from models import InputError
from models.training import (
    CropSource,
    ParameterGroup,
    TrainingPair,
    TrainingPlan,
    TrainingResult,
    train,
    why_not_compiled,
)
from models.training.compilation import reason

COMPILER = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
PLAN = TrainingPlan(steps=6, batch=2, validate_every=3, warm_up=0.1)
NO_COMPILER = (
    "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx\n\nSet more"
)


class Small(nn.Module):
    """3x3, SiLU, 3x3, pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 12, 3, padding=1)

    def forward(self, lr_nchw: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.last(nn.functional.silu(self.first(lr_nchw))), 2)


class Uncompilable(Small):
    """Fails as torch does, with or without Ctrl-C before."""

    interrupted = False

    def forward(self, lr_nchw: Tensor) -> Tensor:
        if self.interrupted:
            signal.raise_signal(signal.SIGINT)
        raise TorchDynamoException(NO_COMPILER)


def pairs() -> list[TrainingPair]:
    random = torch.Generator().manual_seed(0)
    hr = [torch.randint(0, 256, (40, 40, 3), dtype=torch.uint8, generator=random).numpy() for _ in range(3)]
    return [TrainingPair(name=str(n), lr=image[::2, ::2].copy(), hr=image) for n, image in enumerate(hr)]


def run(network: nn.Module, plan: TrainingPlan) -> TrainingResult:
    images = pairs()
    names = tuple(name for name, _ in network.named_parameters())
    crops = CropSource(images[1:], scale=2, crop=8)
    groups = [ParameterGroup(names=names, lr=1e-2)]
    return train(network, groups=groups, crops=crops, validation=images[:1], plan=plan)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Whether there is a compiler is found out anew."""
    why_not_compiled.cache_clear()
    yield
    why_not_compiled.cache_clear()


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C++ compiler {COMPILER}")
def test_a_compiled_training_is_the_same_training() -> None:
    assert why_not_compiled("cpu") is None
    eager, compiled = Small(), Small()
    one, two = run(eager, PLAN), run(compiled, replace(PLAN, compiled=True))
    assert two.ended == "finished" and two.steps == 6
    assert [point.loss for point in two.curve] == pytest.approx([point.loss for point in one.curve], rel=1e-4)
    for mine, theirs in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    assert two.network.state_dict().keys() == Small().state_dict().keys()


def left_as_it_is(network: nn.Module) -> nn.Module:
    return network


def test_without_a_compiler_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.engine.compiled", left_as_it_is)
    with pytest.raises(
        InputError,
        match=r"^the training step cannot be compiled here: No working C\+\+ compiler found in \S+; "
        r"train without that \(--compile off\)$",
    ):
        run(Uncompilable(), replace(PLAN, compiled=True))

    def failing(*_arguments: object, **_options: object) -> object:
        raise TorchDynamoException(NO_COMPILER)

    monkeypatch.setattr(torch, "compile", failing)
    assert why_not_compiled("cpu") == reason(TorchDynamoException(NO_COMPILER))
    assert why_not_compiled("cpu") == "No working C++ compiler found in torch._inductor.config.cpp.cxx"


def test_nowhere_to_write_what_is_compiled_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_arguments: object, **_options: object) -> object:
        raise FileNotFoundError(2, "No such file or directory", "/absent/cache")

    monkeypatch.setattr(torch, "compile", failing)
    assert why_not_compiled("cpu") == "[Errno 2] No such file or directory: '/absent/cache'"


def test_ctrl_c_that_reaches_the_compiler_too_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.engine.compiled", left_as_it_is)
    network = Uncompilable()
    network.interrupted = True
    result = run(network, replace(PLAN, compiled=True))
    assert result.ended == "interrupted" and result.steps == 0


def test_a_plan_to_compile_is_part_of_what_has_to_be_the_same() -> None:
    assert replace(PLAN, compiled=True).to_json() != PLAN.to_json()
