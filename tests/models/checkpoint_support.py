"""State dicts in every form, and how tests of checkpoints compare networks and catch refusals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from models import InputError, Span, load_checkpoint, reparameterize
from models.checkpoint import state_to_save

State = dict[str, Tensor]


def form_of(span: Span, form: str) -> State:
    """The state dict of `span` as published files of that form have it."""
    states: Mapping[str, tuple[State, ...]] = {
        "training": (state_to_save(span),),
        "folded": (state_to_save(reparameterize(span)),),
        "both": (state_to_save(span), state_to_save(reparameterize(span))),
    }
    return {name: tensor for state in states[form] for name, tensor in state.items()}


def same(one: nn.Module, two: nn.Module, tolerance: float = 0.0) -> bool:
    """Whether both fold to the same config and the same weights, within a share of each largest weight."""
    a, b = reparameterize(one), reparameterize(two)
    return a.config == b.config and all(
        bool((value - b.state_dict()[name]).abs().max() <= tolerance * value.abs().max())
        for name, value in a.state_dict().items()
    )


def refusal(file: Path, **given: Any) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        load_checkpoint(file, **given)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    return message
