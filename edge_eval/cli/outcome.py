"""How a command ends: exit codes, and one line on stderr for everything that is not a bug."""

import os
import signal
import sys
from collections.abc import Sequence
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
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except InputError as error:
            return _say(f"error: {error}", BAD_INPUT)
        except GateError as error:
            return _say("\n".join(f"FAILED {line}" for line in error.failures), GATE_FAILED)
        except (click.Abort, Interruption):
            return _say("interrupted; no file was left half-written", INTERRUPTED)
        except BrokenPipeError:
            _drop_stdout()
            return PIPE_CLOSED
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


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code


def _drop_stdout() -> None:
    """Point stdout at nothing: its reader is gone, and flushing it at exit would raise again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
