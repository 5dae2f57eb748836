"""The library coremltools, loaded without its chatter: it says nothing there that our users could act on."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator
from typing import Any

KNOWN_MESSAGES = {
    # Apple tested coremltools 9.0 up to torch 2.7 and TensorFlow 2.12; ours are newer, and our tests compare
    # the results. scikit-learn comes with the extra `compare`; its models are not converted here.
    "coremltools": (
        "has not been tested with coremltools",
        "Failed to load _ML",
        "Disabling scikit-learn conversion",
    ),
    # Kernels for accelerators that a conversion does not use.
    "torchao": ("Failed to load ",),
    "torch.utils._pytree": ("KernelPreference",),
}
"""What is kept from the log while coremltools is loaded, by logger: parts of messages. All others pass."""


class _KnownMessages(logging.Filter):
    """Drops the messages that hold one of the given parts."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__()
        self._parts = parts

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes."""
        return not any(part in record.getMessage() for part in self._parts)


def load_coremltools() -> Any:
    """The package `coremltools`, without its TensorFlow frontend unless TensorFlow is loaded already.

    It imports TensorFlow wherever that is installed, only to learn its version: 5 seconds, 300 MB and lines
    on stderr that no setting stops.
    """
    filters = [(logging.getLogger(name), _KnownMessages(parts)) for name, parts in KNOWN_MESSAGES.items()]
    for logger, known in filters:
        logger.addFilter(known)
    hides = not {"tensorflow", "coremltools"} & set(sys.modules)
    if hides:
        modules: dict[str, Any] = sys.modules
        modules["tensorflow"] = None  # makes an import of that name fail
    try:
        import coremltools
    finally:
        if hides:
            del sys.modules["tensorflow"]
        for logger, known in filters:
            logger.removeFilter(known)
    return coremltools


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep coremltools' progress bars, which have no switch, off stderr; other lines come at the end."""
    written = io.StringIO()
    try:
        with contextlib.redirect_stderr(written):
            yield
    finally:
        others = [line for line in written.getvalue().split("\n") if line.strip() and "\r" not in line]
        if others:
            print("\n".join(others), file=sys.stderr)
