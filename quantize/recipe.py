"""What a recipe asks for, as data: how many bits the weights and the activations of a converted file have."""

from dataclasses import dataclass
from typing import Literal

from models.errors import InputError

RecipeName = Literal["fp32", "fp16", "w8", "w8a8", "w8a16", "w8a8_mixed", "pal8", "pal6", "pal4"]
FormatName = Literal["tflite", "coreml"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One row of `RECIPES`.

    Attributes:
        name: its name in the grammar: `w` and the weights' bits, `a` and the activations' bits; `pal` and
            the bits of an index into a table of weights.
        title: one line for people.
        formats: which files it can be asked for.
        float_bits: bits of what stays floating point.
        weight_bits: bits of a linearly quantized weight, one scale per output channel; None where weights
            are not.
        activation_bits: bits of a linearly quantized activation, one scale per tensor; None where they are
            not.
        palette_bits: bits of an index into a palette of weights; None where weights are not palettized.
        mixed: whether the most sensitive operations stay in floating point, under a budget.
        calibrated: whether making it needs images.
    """

    name: RecipeName
    title: str
    formats: tuple[FormatName, ...] = ("tflite", "coreml")
    float_bits: Literal[16, 32] = 32
    weight_bits: Literal[8] | None = None
    activation_bits: Literal[8, 16] | None = None
    palette_bits: Literal[8, 6, 4] | None = None
    mixed: bool = False

    @property
    def calibrated(self) -> bool:
        """Whether it is made by `quantize_ptq`, from images."""
        return self.weight_bits is not None


RECIPES: dict[str, Recipe] = {
    row.name: row
    for row in (
        Recipe(name="fp32", title="32-bit floating point"),
        Recipe(name="fp16", title="16-bit floating point", float_bits=16),
        Recipe(name="w8", title="8-bit weights, floating-point activations", weight_bits=8),
        Recipe(name="w8a8", title="8-bit weights and activations", weight_bits=8, activation_bits=8),
        Recipe(
            name="w8a16",
            title="8-bit weights, 16-bit activations",
            formats=("tflite",),
            weight_bits=8,
            activation_bits=16,
        ),
        Recipe(
            name="w8a8_mixed",
            title="8-bit weights and activations, the most sensitive operations in floating point",
            weight_bits=8,
            activation_bits=8,
            mixed=True,
        ),
        Recipe(
            name="pal8",
            title="weights from a table of 256",
            formats=("coreml",),
            float_bits=16,
            palette_bits=8,
        ),
        Recipe(
            name="pal6",
            title="weights from a table of 64",
            formats=("coreml",),
            float_bits=16,
            palette_bits=6,
        ),
        Recipe(
            name="pal4",
            title="weights from a table of 16",
            formats=("coreml",),
            float_bits=16,
            palette_bits=4,
        ),
    )
}
"""Every recipe. A new one is a row here; the converters read its fields, the tests iterate over the table."""


def recipe_named(name: str) -> Recipe:
    """The row of `RECIPES` called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]
