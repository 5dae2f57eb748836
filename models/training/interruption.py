"""Ctrl-C and a polite kill as a wish to stop, heeded between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopWish:
    """Whether the user wants training to end.

    Attributes:
        heard: true from the first signal on.
    """

    heard: bool = False


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Turn the first SIGINT or SIGTERM into a wish; from then on, as outside the block, they act as ever.

    Signals reach the main thread alone; in another thread nothing is changed.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hear(_number: int, _frame: FrameType | None) -> None:
        wish.heard = True
        restore()

    for number in SIGNALS:
        signal.signal(number, hear)
    try:
        yield wish
    finally:
        restore()
