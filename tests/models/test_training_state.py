"""The state of an unfinished training on disk."""

import errno
from pathlib import Path

import pytest
import torch

from models.errors import InputError
from models.training.state import SavedState, load_state, save_state


def state(step: int) -> SavedState:
    return SavedState(identity={"seed": 0}, record={"step": step}, tensors={"network": {"w": torch.ones(3)}})


def test_a_full_disk_ends_in_one_line_and_keeps_the_earlier_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.training.safetensors"
    save_state(state(1), path)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="No space left|disk is full") as caught:
        save_state(state(2), path)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert load_state(path, {"seed": 0}).record["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
