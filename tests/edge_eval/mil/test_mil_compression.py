"""Weights as coremltools' own tools compress them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mil_checks import IMAGE, in_float64, psnr_db
from mil_networks import SmallSpan

from edge_eval.mil import Machine, load_program


@pytest.fixture(scope="module")
def converted() -> Callable[[str], Any]:
    """`SmallSpan` as a float32 model for a target, converted once."""
    import coremltools as ct

    models: dict[str, Any] = {}

    def convert_once(target: str) -> Any:
        if target not in models:
            models[target] = ct.convert(
                torch.jit.trace(SmallSpan(channels=16).eval(), IMAGE),
                inputs=[ct.TensorType("image", shape=(1, 3, 16, 20))],
                outputs=[ct.TensorType("upscaled")],
                minimum_deployment_target=getattr(ct.target, target),
                compute_precision=ct.precision.FLOAT32,
                skip_model_load=True,
            )
        return models[target]

    return convert_once


@pytest.mark.parametrize(
    ("way", "least_db", "target"),
    [
        ("linear8", 40, "iOS17"),
        ("linear8", 40, "iOS18"),
        ("linear4", 15, "iOS18"),
        ("palette8", 40, "iOS17"),
        ("palette6", 25, "iOS17"),
        ("palette4", 12, "iOS18"),
        ("prune", 8, "iOS17"),
    ],
)
def test_compressed_weights(way, least_db, target, tmp_path, converted):
    """Each keeps about what its bits allow; weights put in wrong places keep next to nothing."""
    import coremltools.optimize.coreml as cto

    model = converted(target)
    configs = {
        "linear8": lambda: cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", weight_threshold=0
        ),
        "linear4": lambda: cto.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=4, weight_threshold=0
        ),
        "palette8": lambda: cto.OpPalettizerConfig(mode="uniform", nbits=8, weight_threshold=0),
        "palette6": lambda: cto.OpPalettizerConfig(mode="uniform", nbits=6, weight_threshold=0),
        "palette4": lambda: cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=0),
        "prune": lambda: cto.OpMagnitudePrunerConfig(target_sparsity=0.3, weight_threshold=0),
    }
    tools = {
        "linear": cto.linear_quantize_weights,
        "palette": cto.palettize_weights,
        "prune": cto.prune_weights,
    }
    tool = tools[way.rstrip("468")]
    smaller = tool(model, config=cto.OptimizationConfig(global_config=configs[way]()))
    smaller.save(str(tmp_path / "n.mlpackage"))
    program = load_program(tmp_path / "n.mlpackage")
    assert any(kind.startswith("constexpr_") for kind in program.count_operations())
    out = Machine(program).run({"image": IMAGE})["upscaled"]
    assert psnr_db(out, in_float64(SmallSpan(channels=16), IMAGE)) > least_db
