"""How a long stage tells what it is doing, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """A callable that stages call as they go; the command line draws a bar from it."""

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """Say that `done` of `total` steps of `stage` are finished; `detail` is a short live figure."""


def silent(stage: str, done: int, total: int, detail: str = "") -> None:
    """Ignore progress: the default where nobody listens."""


def renamed(progress: Progress, name: str) -> Progress:
    """`progress`, told of another stage's steps as those of the stage `name`."""

    def tell(stage: str, done: int, total: int, detail: str = "") -> None:
        progress(name, done, total, detail)

    return tell
