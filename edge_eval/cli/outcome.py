"""How a command ends: exit codes, and one line on stderr for everything that is not a bug."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from models.errors import InputError

DONE = 0
GATE_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143
PIPE_CLOSED = 141


class GateError(Exception):
    """A quality gate failed, or something that was asked for could not be made; one line per failure."""

    def __init__(self, failures: tuple[str, ...]) -> None:
        super().__init__("\n".join(failures))
        self.failures = failures


class Interruption(Exception):  # noqa: N818 - no error
    """Ctrl-C, out of click's reach, which would answer it with an empty line."""


class Program(click.Group):
    """A group of commands whose ends are told apart by exit code; only bugs show a traceback."""

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command line and exit the process."""
        sys.exit(self._exit_code(args, prog_name, **extra))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that the context holds."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interruption from error

    def _exit_code(self, args: Sequence[str] | None, prog_name: str | None, **extra: Any) -> int:
        try:
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
            sys.stdout.flush()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except BrokenPipeError:
            _drop_stdout()
            return PIPE_CLOSED
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            where = f"the disk of {error.filename}" if error.filename else "a disk, perhaps that of TMPDIR,"
            return _say(f"error: {where} is full; make room on it", BAD_INPUT)
        except tuple(ENDS) as error:
            return _say(*next(end(error) for kind, end in ENDS.items() if isinstance(error, kind)))
        return code if isinstance(code, int) else DONE


_asked_to_stop: list[BaseException] = []


def stop_on_signals() -> None:
    """Let Ctrl-C and a polite kill unwind the stack, so that half-written files are removed.

    Native callbacks of some tools swallow the exception; `raise_if_asked_to_stop` then raises it again.
    """

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        asked = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(TERMINATED)
        _asked_to_stop.append(asked)
        raise asked

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def raise_if_asked_to_stop() -> None:
    """Raise what a signal raised before, if somebody caught it.

    Raises:
        KeyboardInterrupt, SystemExit: there was such a signal.
    """
    if _asked_to_stop:
        raise _asked_to_stop[0]


def _usage(error: click.ClickException) -> tuple[str, int]:
    """What click has to say, and whose help says more."""
    text = " ".join(error.format_message().split()).rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"error: {text}" + (f"; see {context.command_path} --help" if context else ""), error.exit_code


def _interrupted(_error: BaseException) -> tuple[str, int]:
    return "interrupted; no file was left half-written", INTERRUPTED


def _no_memory(error: MemoryError) -> tuple[str, int]:
    return f"error: not enough memory ({error or 'no more is said'}); give a smaller size or image", BAD_INPUT


ENDS: Mapping[type[Exception], Callable[[Any], tuple[str, int]]] = {
    InputError: lambda error: (f"error: {error}", BAD_INPUT),
    GateError: lambda error: ("\n".join(f"FAILED {line}" for line in error.failures), GATE_FAILED),
    click.ClickException: _usage,
    click.Abort: _interrupted,
    Interruption: _interrupted,
    MemoryError: _no_memory,
}
"""What is said and the exit code, for each end that is no bug."""


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code


def _drop_stdout() -> None:
    """Point stdout at nothing: its reader is gone, and flushing it at exit would raise again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
