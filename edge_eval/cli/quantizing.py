"""What commands do with the options of quantization."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError

if TYPE_CHECKING:
    from models.config import SpanConfig
    from quantize.quantized import QuantizedSpan

    from ..qat import QatOptions
    from ..quantization import EffortName, Quantization
    from ..quantized_file import QuantizedCheckpoint
    from .sources import Loaded


def asked_quantization(
    recipes: Sequence[str],
    quantized: "QuantizedCheckpoint | None",
    *,
    config: "SpanConfig",
    calibration: Path | None,
    method: str | None,
    effort: "EffortName | None",
    seed: int | None,
    training: "QatOptions | None" = None,
    start: "QuantizedSpan | None" = None,
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
        training: how `qat` trains; None for its defaults.
        start: what `qat` starts from; None to make it by `ptq`.

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
            training=training,
            start=start,
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


def network_and_start(
    checkpoint: Path,
    reference: Path | None,
    *,
    method: str | None,
    recipe: str | None,
    img_range: float | None,
    rgb_mean: tuple[float, ...] | None,
) -> "tuple[Loaded, QuantizedSpan | None]":
    """The float network that is quantized, and the quantized one that `qat` starts from, if it was given.

    Raises:
        InputError: a checkpoint cannot be used, or is quantized and the method or the recipe is another.
    """
    from .sources import load_float_and_quantized, load_network

    if method != "qat":
        if reference is not None:
            raise InputError("--reference is for a quantized checkpoint and --method qat; leave it out")
        return load_network(checkpoint, img_range=img_range, rgb_mean=rgb_mean), None
    loaded, quantized = load_float_and_quantized(
        checkpoint, reference, img_range=img_range, rgb_mean=rgb_mean
    )
    if quantized is None:
        return loaded, None
    start = quantized.quantized
    if recipe not in (None, start.recipe):
        raise InputError(
            f"{checkpoint} was quantized by {start.recipe}; leave --recipe out, or give the float checkpoint"
        )
    return loaded, start
