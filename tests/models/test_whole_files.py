"""Files are written whole or not at all, and named by what they hold."""

import errno
import hashlib
import shutil
from pathlib import Path

import pytest

from models import InputError
from models.files import refuse_existing, sha256_of, size_of, written_whole


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with written_whole(path) as scratch:
        scratch.write_bytes(b"abc")
        assert scratch.name == path.name
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert names_in(path.parent) == ["a.bin"]


def test_a_folder_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.mlpackage"
    for content in ("one", "two"):
        with written_whole(path, overwrite=True) as scratch:
            scratch.mkdir()
            (scratch / content).write_text(content)
    assert names_in(path) == ["two"]
    assert names_in(tmp_path) == ["a.mlpackage"]


def test_a_file_never_replaces_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "photographs"
    path.mkdir()
    (path / "a.png").write_bytes(b"dear")
    message = f"{path} is a folder, which a file would replace with all that is in it; give another name"
    with pytest.raises(InputError) as early:
        refuse_existing(path, overwrite=True)
    with pytest.raises(InputError) as late, written_whole(path, overwrite=True) as scratch:
        scratch.write_bytes(b"{}")
    assert str(early.value) == str(late.value) == message
    assert names_in(tmp_path) == ["photographs"] and names_in(path) == ["a.png"]
    refuse_existing(path, overwrite=True, folder=True)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_of_a_failure(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(failure), written_whole(path, overwrite=True) as scratch:
        scratch.write_bytes(b"half")
        raise failure
    assert path.read_bytes() == b"before"
    assert names_in(tmp_path) == ["a.bin"]


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with pytest.raises(InputError) as caught, written_whole(path):
        pytest.fail("the work was begun")
    assert str(caught.value) == f"{path} exists already; give --overwrite to replace it, or another name"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot write .*a.bin: .*; choose a folder that can be written"):
        written_whole(tmp_path / "file" / "a.bin").__enter__()

    def refuse(*given: object, **named: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(InputError, match="a.bin: Permission denied; choose a folder that can be written"):
        written_whole(tmp_path / "a.bin").__enter__()


def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(InputError) as caught, written_whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"cannot write {path}: No space left on device; nothing was changed"
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("error", [OSError("encoder error -2"), OSError(errno.EIO, "Input/output error")])
def test_errors_name_the_path_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """Also where the error has no number, as some of Pillow's."""
    monkeypatch.chdir(tmp_path)
    message = "^cannot write a.bin: (enc|Inp).* error.*; nothing was changed$"
    with pytest.raises(InputError, match=message), written_whole(Path("a.bin")) as scratch:
        if error.errno:
            error.filename = str(scratch.resolve())
        raise error
    assert names_in(tmp_path) == []


def test_reading_another_file_in_vain_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "out" / "a.bin"):
        (tmp_path / "absent").read_bytes()


def test_hash_and_size_of_a_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"12")
    (tmp_path / "a" / "y").write_bytes(b"345")
    assert size_of(tmp_path / "a") == 5
    assert size_of(tmp_path / "a" / "y") == 3
    assert sha256_of(tmp_path / "a" / "y") == hashlib.sha256(b"345").hexdigest()
    before = sha256_of(tmp_path / "a")
    (tmp_path / "a" / "y").rename(tmp_path / "a" / "z")
    assert sha256_of(tmp_path / "a") != before
    (tmp_path / "a" / "z").rename(tmp_path / "a" / "y")
    assert sha256_of(tmp_path / "a") == before


def test_a_folder_that_cannot_be_copied_whole_is_one_short_line(tmp_path):
    out = tmp_path / "x.mlpackage"
    message = r"not every file of the folder could be copied; is the disk full\?; nothing was changed$"
    with pytest.raises(InputError, match=message), written_whole(out):
        raise shutil.Error([("a", "b", "No space left on device")])
    assert list(tmp_path.iterdir()) == []


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    from models.files import in_fixed_order

    tensors = {"a": torch.arange(3), "b": torch.ones(2, 2)}
    told = {f"key {number}": "ä" * number for number in range(12)}
    files = {in_fixed_order(save(tensors, metadata=told)) for _ in range(8)}
    assert len(files) == 1
    (tmp_path / "x.safetensors").write_bytes(files.pop())
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert file.metadata() == told
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in tensors.items())
