"""The costs of a converted file, whatever its format."""

from collections.abc import Callable, Mapping
from pathlib import Path

from models.errors import InputError

from .count_mil import count_mil
from .count_tflite import count_tflite
from .operation import Costs

Size = tuple[int, int] | None

COUNTERS: Mapping[str, Callable[[Path, Size], Costs]] = {".tflite": count_tflite, ".mlpackage": count_mil}


def count_costs(path: Path, *, input_hw: Size = None) -> Costs:
    """What every operation of a file computes and moves.

    Args:
        path: a `.tflite` file or an `.mlpackage`.
        input_hw: (H, W) of the LR image; None: the file's own.

    Raises:
        InputError: another kind of file, a broken one, or a size that it does not take.
    """
    counter = COUNTERS.get(path.suffix.lower())
    if counter is None:
        raise InputError(f"{path} has no operations to count; give {' or '.join(COUNTERS)} files")
    return counter(path, input_hw)
