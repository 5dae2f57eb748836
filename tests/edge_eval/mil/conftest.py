"""Programs that several tests run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_cases import CASES
from mil_programs import Built, build_cases

from edge_eval.mil import Machine, load_program


class CaseRuns:
    """Programs of all cases of one operation set and one precision, built and run once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[tuple[str, str], tuple[Built, dict[str, np.ndarray]]] = {}

    def __call__(self, opset: str, dtype: str) -> tuple[Built, dict[str, np.ndarray]]:
        """What was built, and every result of the machine by name."""
        if (opset, dtype) not in self._runs:
            cases = [c for c in CASES if c.opset == opset]
            built = build_cases(cases, np.dtype(dtype), opset, self._folder / f"{opset}_{dtype}.mlpackage")
            results = Machine(load_program(built.path)).run(built.feeds, keep=True)
            self._runs[opset, dtype] = built, results
        return self._runs[opset, dtype]


@pytest.fixture(scope="session")
def case_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Any]:
    """Gives, for an operation set and a precision, the built cases and the machine's results."""
    return CaseRuns(tmp_path_factory.mktemp("cases"))
