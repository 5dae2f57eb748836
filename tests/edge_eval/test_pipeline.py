"""The folder of results, whole or not at all, and what is said of timing. The run: `cli/test_cli_run.py`."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_eval.output_folder import output_folder
from edge_eval.pipeline import Outcome, time_all
from edge_eval.report_data import Step
from models import InputError


def listed(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its text."""
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def test_everything_appears_at_once(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with output_folder(out) as folder:
        (folder / "a.txt").write_text("a")
        (folder / "b").mkdir()
        (folder / "b" / "c.txt").write_text("c")
        assert not out.exists()
    assert listed(tmp_path) == {"deep/out/a.txt": "a", "deep/out/b/c.txt": "c"}


def test_overwriting_replaces_same_names_whole_and_leaves_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    (out / "b" / "old.txt").write_text("old")
    (out / "mine.txt").write_text("mine")
    with output_folder(out, overwrite=True) as folder:
        (folder / "b").mkdir()
        (folder / "b" / "new.txt").write_text("new")
    assert listed(tmp_path) == {"out/b/new.txt": "new", "out/mine.txt": "mine"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_failure_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("old")
    with pytest.raises(error), output_folder(out, overwrite=True) as folder:
        (folder / "a.txt").write_text("half")
        raise error
    assert listed(tmp_path) == {"out/a.txt": "old"}


def test_a_failure_while_moving_puts_everything_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.txt").write_text("old a")
    (out / "b.txt").write_text("old b")
    replace = Path.replace

    def fails_once(source: Path, target: Path) -> Path:
        if source.name == "b.txt" and Path(target).parent == out and source.read_text() == "new b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", fails_once)
    with (
        pytest.raises(InputError, match="No space left on device; nothing was changed"),
        output_folder(out, overwrite=True) as folder,
    ):
        (folder / "a.txt").write_text("new a")
        (folder / "b.txt").write_text("new b")
    assert listed(tmp_path) == {"out/a.txt": "old a", "out/b.txt": "old b"}


def test_a_taken_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="holds files already; give --overwrite"), output_folder(tmp_path):
        pass
    with (
        pytest.raises(InputError, match="is a file; give a folder with --out"),
        output_folder(tmp_path / "file"),
    ):
        pass
    with pytest.raises(InputError, match="cannot write"), output_folder(tmp_path / "file" / "out"):
        pass


@pytest.mark.parametrize("runs", [0, 30])
def test_what_could_not_be_made_is_not_said_to_be_untimed(runs: int) -> None:
    step = Step(artifact="a.tflite", format="tflite", recipe="fp16", method=None, status="OK")
    refused = Outcome(step=step).failed("no such luck")
    assert time_all(SimpleNamespace(runs=runs), [refused]) == ([refused], [])


def test_what_was_made_and_not_to_be_timed_says_so() -> None:
    step = Step(artifact="a.tflite", format="tflite", recipe="fp16", method=None, status="OK")
    made = Outcome(step=step, artifact=SimpleNamespace(path=Path("a.tflite")))
    ([outcome], latencies) = time_all(SimpleNamespace(runs=0), [made])
    assert outcome.step.notes == ("SKIPPED latency: not asked for",) and latencies == []
