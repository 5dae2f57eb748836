"""Profiles one TFLite file with LiteRT's profiler, in a process of its own; `profile` starts it."""

import json
import sys
from pathlib import Path
from typing import Any

from .litert_api import Event, Port, ProfiledModel, sides


def profile(path: Path, runtime: str, threads: int, input_hw: tuple[int, int], runs: int) -> dict[str, Any]:
    """Events of each of so many runs, after two that do not count, as JSON-ready lists."""
    import ai_edge_litert
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    told = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
    details, result = told.get_input_details()[0], told.get_output_details()[0]
    scale = int(result["shape"][1]) // int(details["shape"][1])
    own = Port(shape=sides(details["shape"]), dtype=np.dtype(details["dtype"]).name)
    given = Port(shape=(1, *input_hw, own.shape[3]), dtype=own.dtype)
    got = Port(
        shape=(1, scale * input_hw[0], scale * input_hw[1], int(result["shape"][3])),
        dtype=np.dtype(result["dtype"]).name,
    )
    library = Path(ai_edge_litert.__file__).with_name("libLiteRt.so")
    model = ProfiledModel(library, path, runtime=runtime, threads=threads, given=given, got=got, own=own)
    for _ in range(2):
        model.invoke()
    return {"runs": [[_plain(event) for event in model.profiled()] for _ in range(runs)]}


def _plain(event: Event) -> list[Any]:
    return [event.tag, event.kind, event.elapsed_us, event.number]


if __name__ == "__main__":
    asked_path, asked_runtime, asked_threads, asked_hw, asked_runs = json.loads(sys.argv[1])
    found = profile(Path(asked_path), asked_runtime, asked_threads, (asked_hw[0], asked_hw[1]), asked_runs)
    print(json.dumps(found))
