"""Which image sizes a Core ML file takes: one, one of a list, or any in a range."""

from collections.abc import Iterable
from dataclasses import dataclass

from models.errors import InputError

Size = tuple[int, int]
MOST_ENUMERATED = 128
"""Core ML's limit for enumerated shapes."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes (H, W), in low-resolution pixels, that a file takes. Made by `fixed`, `among` or `between`.

    Attributes:
        default: the size that the file names first, and at which it is fastest to load.
        enumerated: every size it takes, `default` among them; empty unless sizes are enumerated.
        smallest: lower bounds of height and width; None unless sizes are a range.
        largest: upper bounds of height and width; None unless sizes are a range.

    Raises:
        InputError: a side is below 1, sizes repeat or are too many, or a range is inverted or leaves the
            default out.
    """

    default: Size
    enumerated: tuple[Size, ...] = ()
    smallest: Size | None = None
    largest: Size | None = None

    def __post_init__(self) -> None:
        for size in (self.default, *self.enumerated, self.smallest, self.largest):
            if size is not None:
                _refuse_no_size(size)
        if self.enumerated:
            self._refuse_bad_list()
        if self.smallest is not None or self.largest is not None:
            self._refuse_bad_range()

    @classmethod
    def fixed(cls, height: int, width: int) -> "Sizes":
        """One size."""
        return cls(default=(height, width))

    @classmethod
    def among(cls, sizes: Iterable[Size]) -> "Sizes":
        """One of several sizes; the first is the default. One alone is the same as `fixed`."""
        given = tuple(sizes)
        if not given:
            raise InputError("no size was given; give at least one height and width, as 128x128")
        return cls(default=given[0], enumerated=given if len(given) > 1 else ())

    @classmethod
    def between(cls, smallest: Size, largest: Size, *, default: Size | None = None) -> "Sizes":
        """Any height and width within bounds, both included; the default is `smallest` unless given."""
        return cls(default=default or smallest, smallest=smallest, largest=largest)

    @property
    def is_fixed(self) -> bool:
        """Whether there is one size only."""
        return not self.enumerated and self.smallest is None

    def times(self, factor: int) -> "Sizes":
        """The sizes of images `factor` times as large along each side."""

        def larger(size: Size) -> Size:
            return size[0] * factor, size[1] * factor

        return Sizes(
            default=larger(self.default),
            enumerated=tuple(larger(size) for size in self.enumerated),
            smallest=self.smallest and larger(self.smallest),
            largest=self.largest and larger(self.largest),
        )

    def _refuse_bad_list(self) -> None:
        if len(set(self.enumerated)) != len(self.enumerated):
            raise InputError(f"sizes {_listed(self.enumerated)} repeat; give each once")
        if len(self.enumerated) > MOST_ENUMERATED:
            raise InputError(
                f"{len(self.enumerated)} sizes are more than Core ML's {MOST_ENUMERATED}; give a range"
            )
        if self.default not in self.enumerated:
            raise InputError(
                f"the default {_by(self.default)} is not among the sizes {_listed(self.enumerated)}; add it"
            )

    def _refuse_bad_range(self) -> None:
        if self.smallest is None or self.largest is None or self.enumerated:
            raise InputError(
                "a range of sizes has a smallest and a largest size and no list; give both, and no list"
            )
        limits = f"{_by(self.smallest)} to {_by(self.largest)}"
        if any(low > high for low, high in zip(self.smallest, self.largest, strict=True)):
            raise InputError(
                f"the range of sizes {limits} is inverted; give the smallest height and width first"
            )
        sides = zip(self.smallest, self.default, self.largest, strict=True)
        if not all(low <= side <= high for low, side, high in sides):
            raise InputError(
                f"the default {_by(self.default)} is outside the range {limits}; choose one inside"
            )


def _refuse_no_size(size: Size) -> None:
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise InputError(
            f"size {size} is not two whole numbers of pixels from 1 up; give height and width, as 128x128"
        )


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _listed(sizes: Iterable[Size]) -> str:
    return ", ".join(_by(size) for size in sizes)
