"""Silence for converters that talk on standard error, unless they fail."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """A block whose standard error, that of C++ libraries too, and whose Python warnings are not shown.

    If the block raises, everything it wrote is written after all. The whole process is silent meanwhile,
    other threads too.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        terminal = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            _restore(terminal)
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        else:
            _restore(terminal)
        finally:
            os.close(terminal)


def _restore(terminal: int) -> None:
    sys.stderr.flush()
    os.dup2(terminal, 2)
