"""Files converted from small random networks, once for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tflite_support import SIZE, SOURCE, random_network

from convert import Artifact, to_tflite
from models import SpanDeploy


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[SpanDeploy, Artifact]]:
    """Converts a random network; the same arguments give the same file, made once."""
    done: dict[str, tuple[SpanDeploy, Artifact]] = {}
    folder = tmp_path_factory.mktemp("tflite")

    def convert(
        *, recipe: str = "fp32", backend: str = "litert", **config: object
    ) -> tuple[SpanDeploy, Artifact]:
        key = "_".join([recipe, backend, *(f"{k}-{v}" for k, v in sorted(config.items()))])
        if key not in done:
            network = random_network(**config)
            out = Path(folder, f"{len(done)}.tflite")
            artifact = to_tflite(
                network,
                recipe=recipe,
                size=SIZE,
                source=SOURCE,
                out=out,
                backend=backend,  # type: ignore[arg-type]
            )
            done[key] = network, artifact
        return done[key]

    return convert
