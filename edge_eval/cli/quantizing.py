"""What commands do with the options of quantization."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError

if TYPE_CHECKING:
    from models.config import SpanConfig

    from ..quantization import EffortName, Quantization
    from ..quantized_file import QuantizedCheckpoint


def asked_quantization(
    recipes: Sequence[str],
    quantized: "QuantizedCheckpoint | None",
    *,
    config: "SpanConfig",
    calibration: Path | None,
    method: str | None,
    effort: "EffortName | None",
    seed: int | None,
) -> "Quantization | None":
    """How to quantize for these recipes; None where nothing is to be quantized.

    Args:
        recipes: rows of `RECIPES`.
        quantized: the checkpoint where it is quantized already.
        config: of the network.
        calibration: folder of images; None for the bundled ones.
        method: row of `METHODS`; None for the first.
        effort: of the search; None for `fast`.
        seed: of random draws; None for 0.

    Raises:
        InputError: nothing is to be quantized and an option says how, or there are no images.
    """
    from quantize.recipe import RECIPES

    from ..quantization import METHODS, Quantization, open_calibration
    from .sources import channels_of

    if quantized is None and any(RECIPES[recipe].calibrated for recipe in recipes):
        return Quantization(
            calibration=open_calibration(calibration, scale=config.upscale, channels=channels_of(config)),
            effort=effort or "fast",
            seed=seed or 0,
            method=method or next(iter(METHODS)),
        )
    options: dict[str, Any] = {
        "--calibration": calibration,
        "--method": method,
        "--effort": effort,
        "--seed": seed,
    }
    given = ", ".join(name for name, value in options.items() if value is not None)
    if given:
        why = (
            f"{quantized.path} is quantized already" if quantized else f"{', '.join(recipes)} needs no images"
        )
        raise InputError(f"{why}; leave {given} out")
    return None
