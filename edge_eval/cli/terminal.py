"""The user's terminal: our output on it, the tools' chatter off it, and progress bars."""

import faulthandler
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from models.errors import InputError
from models.files import refuse_existing, refuse_unwritable, written_whole

from .outcome import GateError, raise_if_asked_to_stop

VERBOSE_VARIABLE = "SPAN_EDGE_VERBOSE"
"""Set to anything to see what TensorFlow, coremltools and the rest print."""

PIPED_WIDTH = 160
NOISE_LINES = 40

_EXPECTED = (
    InputError,
    GateError,
    KeyboardInterrupt,
    MemoryError,
    BrokenPipeError,
    click.ClickException,
    click.Abort,
    SystemExit,
)


@dataclass(frozen=True, kw_only=True)
class Terminal:
    """Where a command writes: results to `out`, everything else to `err`."""

    out: Console
    err: Console

    def say(self, line: str) -> None:
        """One line for the user that is not a result."""
        self.err.print(line, soft_wrap=True)

    def emit_json(self, document: Mapping[str, Any], target: str, *, overwrite: bool = False) -> None:
        """Write `document` to the file `target`, or to standard output where `target` is `-`.

        Raises:
            InputError: the file exists, or cannot be written.
        """
        self.emit_text(json.dumps(document, indent=2, allow_nan=False) + "\n", target, overwrite=overwrite)

    def emit_text(self, text: str, target: str, *, overwrite: bool = False) -> None:
        """Write `text` to the file `target`, or to standard output where `target` is `-`.

        Raises:
            InputError: the file exists, or cannot be written.
        """
        if target == "-":
            self.write(text)
            return
        with written_whole(Path(target), overwrite=overwrite) as scratch:
            scratch.write_text(text, encoding="utf-8")

    def write(self, text: str) -> None:
        """Write `text` to standard output as it is.

        Raises:
            InputError: standard output is a full disk, say.
        """
        try:
            self.out.file.write(text)
            self.out.file.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"cannot write to standard output: {error.strerror}") from error


def refuse_taken_json(target: str | None, *, overwrite: bool) -> None:
    """Refuse to write the file that `--json` names, before any work is done.

    Raises:
        InputError: it exists and `overwrite` is false, or its folder cannot be written.
    """
    if target is not None and target != "-":
        refuse_existing(Path(target), overwrite=overwrite)
        refuse_unwritable(Path(target))


def refuse_taken_targets(json_target: str | None, markdown_target: str | None, *, overwrite: bool) -> None:
    """Refuse what `--json` and `--markdown` name together, before any work is done.

    Raises:
        InputError: both are standard output, or a file is taken (see `refuse_taken_json`).
    """
    if json_target == markdown_target and json_target is not None:
        raise InputError("--json and --markdown name the same output; give one of them another FILE")
    for target in (json_target, markdown_target):
        refuse_taken_json(target, overwrite=overwrite)


@contextmanager
def terminal() -> Iterator[Terminal]:
    """The user's terminal, with everything that the tools print kept off it until the block ends.

    TensorFlow, XNNPACK and coremltools write to the process's descriptors 1 and 2, from C++ and from Python.
    Both are turned to a temporary file; our own consoles hold copies of the real ones. When the block ends
    with an unexpected error, the last of what the tools said is printed before the traceback.
    """
    verbose = bool(os.environ.get(VERBOSE_VARIABLE))
    if not verbose:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if verbose or not _writes_to_process_descriptors():
        yield Terminal(out=_console(sys.stdout), err=_console(sys.stderr))
        return
    with ExitStack() as stack:
        noise = stack.enter_context(tempfile.TemporaryFile())
        out, err = (stack.enter_context(_turned_aside(stream, noise)) for stream in (sys.stdout, sys.stderr))
        faulthandler.enable(file=err)
        stack.callback(faulthandler.disable)
        try:
            yield Terminal(out=_console(out), err=_console(err))
        except _EXPECTED:
            raise
        except BaseException:
            _show_noise(noise, err)
            raise


def _writes_to_process_descriptors() -> bool:
    """Whether stdout and stderr are the process's own, not a test's or a notebook's stand-ins."""
    try:
        return sys.stdout.fileno() == 1 and sys.stderr.fileno() == 2
    except (io.UnsupportedOperation, AttributeError):
        return False


@contextmanager
def _turned_aside(stream: TextIO, noise: IO[bytes]) -> Iterator[TextIO]:
    """The real stream, while its descriptor leads to `noise`."""
    stream.flush()
    descriptor = stream.fileno()
    kept = os.dup(descriptor)
    real = os.fdopen(os.dup(kept), "w", encoding=stream.encoding, errors=stream.errors)
    os.dup2(noise.fileno(), descriptor)
    try:
        yield real
    finally:
        stream.flush()
        os.dup2(kept, descriptor)
        os.close(kept)
        real.close()


def _show_noise(noise: IO[bytes], err: IO[str]) -> None:
    noise.seek(0)
    lines = noise.read().decode(errors="replace").splitlines()[-NOISE_LINES:]
    if lines:
        err.write("what the tools printed last:\n" + "".join(f"  {line}\n" for line in lines))
        err.flush()


def _console(stream: IO[str]) -> Console:
    width = None if stream.isatty() else PIPED_WIDTH
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


class Bars:
    """A `Progress` that draws a bar per stage on a terminal, and prints finished stages elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._finished: set[str] = set()
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
        )

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Show that `done` of `total` steps of `stage` are finished."""
        raise_if_asked_to_stop()
        if not self._console.is_terminal:
            if done >= total and stage not in self._finished:
                self._finished.add(stage)
                self._console.print(f"{stage}: {done} of {total} {detail}".rstrip(), soft_wrap=True)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, detail=detail)
        self._progress.update(self._tasks[stage], completed=done, total=total, detail=detail)


@contextmanager
def progress_bars(screen: Terminal) -> Iterator[Bars]:
    """Progress bars on stderr for as long as the block lasts."""
    bars = Bars(screen.err)
    if not screen.err.is_terminal:
        yield bars
        return
    with bars._progress:
        yield bars
