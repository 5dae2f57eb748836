"""Files that are no checkpoints, damaged, or want to run code are refused with the reason, in one line."""

import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_support import form_of, refusal
from safetensors.torch import save_file

from models import InputError, Span, SpanConfig, load_checkpoint, state_file
from models.bundled import bundled_names


def test_absent(file: Path) -> None:
    assert refusal(file) == (
        f"there is no file {file}, and no checkpoint of that name comes with span-edge; give a checkpoint "
        f"file (.pth, .pt or .safetensors) or one of {', '.join(bundled_names())}"
    )


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path} is a folder; give the checkpoint file in it"


def test_not_a_regular_file(file: Path) -> None:
    os.mkfifo(file)
    assert "is not a regular file" in refusal(file)


def test_empty(file: Path) -> None:
    file.write_bytes(b"")
    assert refusal(file) == f"{file} is empty; download or copy it again"


def test_no_permission(x4_span: Span, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(form_of(x4_span, "folded"), file)

    def refuse(self: Path, *given: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(file) == f"cannot read {file}: Permission denied; check its name and permissions"


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    assert ": File name too long; check its name and permissions" in refusal(tmp_path / ("a" * 600))


def test_too_large(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate((1 << 30) + 1)
    assert "holds 1024 MiB, far more than any SPAN checkpoint; give a file of at most 1024 MiB" in refusal(
        file
    )


def test_zip_bomb(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "LARGEST_BYTES", 1 << 22)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 24))
    assert file.stat().st_size < 1 << 20
    assert "holds 16 MiB, far more than any SPAN checkpoint" in refusal(file)


def test_a_tensor_larger_than_its_storage(x4_span: Span, file: Path) -> None:
    state = form_of(x4_span, "folded")
    state["conv_cat.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20, 1, 1)
    torch.save(state, file)
    assert "far more than any SPAN checkpoint" in refusal(file)


@pytest.mark.parametrize("content", [b"hello, this is text", b"\x89PNG\r\n\x1a\n" + bytes(40), b"x"])
def test_other_files(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    assert refusal(file) == (
        f"{file} is neither a PyTorch checkpoint (.pth, .pt) nor a .safetensors file; "
        "give a checkpoint saved by torch.save or safetensors"
    )


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.002, 0.1, 0.5, 0.95, 0.999])
def test_truncated(x4_span: Span, kind: str, kept: float, file: Path) -> None:
    state = form_of(x4_span, "folded")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    content = file.read_bytes()
    file.write_bytes(content[: max(20, int(len(content) * kept))])
    assert "damaged" in refusal(file)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_at_random(kind: str, make_span: Callable[[SpanConfig], Span], file: Path) -> None:
    """Whatever bytes are changed, the file is refused in one line or loads: no other error comes out."""
    state = form_of(make_span(SpanConfig(feature_channels=1, concat_channels=1, upscale=1)), "folded")
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    whole, dice, refused = file.read_bytes(), random.Random(0), 0
    for _ in range(80):
        content = bytearray(whole)
        for _ in range(dice.choice([1, 3, 20])):
            content[dice.randrange(dice.choice([200, 3000, len(content)]))] = dice.randrange(256)
        file.write_bytes(content[: dice.choice([len(content), dice.randrange(len(content))])])
        try:
            load_checkpoint(file)
        except InputError:
            refused += 1
    assert refused > 40


def test_zip_of_something_else(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "damaged, truncated or not a checkpoint" in refusal(file)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_code_is_never_run(x4_span: Span, kind: str, file: Path, tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    content = {"params": form_of(x4_span, "folded"), "extra": Payload(f"touch {proof}")}
    if kind == "pickle":
        file.write_bytes(pickle.dumps({"extra": Payload(f"touch {proof}")}, protocol=4))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    message = refusal(file)
    assert not proof.exists()
    if kind != "pickle":
        assert (
            "wants to run code on loading (posix.system), which is never done; save the state dict" in message
        )
        torch.load(file, weights_only=False)
        assert proof.exists(), "the payload is harmless, so the test proves nothing"


def test_a_whole_network_is_refused(x4_span: Span, file: Path) -> None:
    torch.save(x4_span, file)
    assert "wants to run code on loading (models.span.Span), which is never done" in refusal(file)
