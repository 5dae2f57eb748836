"""INT8 quantization of SPAN: recipes, calibration, post-training and quantization-aware methods.

Names are imported when they are first used: torch takes seconds, and `span-edge --help` needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration import CalibrationSet
    from .ptq import quantize_ptq
    from .quantized import Provenance, QParams, QuantizedSpan, QWeight, load_quantized
    from .quantizer import to_pt2e
    from .recipe import RECIPES, Recipe, recipe_named
    from .sensitivity import Cost, measure_costs
    from .simulation import simulate

__all__ = [
    "RECIPES",
    "CalibrationSet",
    "Cost",
    "Provenance",
    "QParams",
    "QWeight",
    "QuantizedSpan",
    "Recipe",
    "load_quantized",
    "measure_costs",
    "quantize_ptq",
    "recipe_named",
    "simulate",
    "to_pt2e",
]

_HOME = {
    "RECIPES": "recipe",
    "CalibrationSet": "calibration",
    "Provenance": "quantized",
    "QParams": "quantized",
    "QWeight": "quantized",
    "QuantizedSpan": "quantized",
    "Recipe": "recipe",
    "load_quantized": "quantized",
    "quantize_ptq": "ptq",
    "recipe_named": "recipe",
    "to_pt2e": "quantizer",
    "Cost": "sensitivity",
    "measure_costs": "sensitivity",
    "simulate": "simulation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
