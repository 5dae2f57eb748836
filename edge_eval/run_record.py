"""What a run writes of itself: the JSON documents that reports are made from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report_data import BENCH_FILE, EVAL_FILE, RUN_FILE, results_of

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.deploy import SpanDeploy

    from .latency import Latency
    from .pipeline import Job, Outcome


def write_results(
    folder: Path,
    job: "Job",
    outcomes: Sequence["Outcome"],
    latencies: Sequence["Latency"],
    details: Mapping[str, Any],
) -> None:
    """Write `eval.json`, `bench.json` and `run.json`.

    Args:
        folder: where to.
        job: what was asked for.
        outcomes: what became of every file.
        latencies: its times.
        details: further entries of `run.json`.
    """
    from .environment import environment

    here = environment()
    evaluations = [outcome.evaluation.to_json() for outcome in outcomes if outcome.evaluation]
    documents = {EVAL_FILE: evaluations, BENCH_FILE: [latency.to_json() for latency in latencies]}
    for name, results in documents.items():
        write_json(folder / name, {"schema": 1, "environment": here, "results": results})
    quality, latency = results_of({"schema": 1, "results": [*evaluations, *documents[BENCH_FILE]]})
    refused = [f"{o.step.artifact}: {o.step.reason}" for o in outcomes if o.step.status == "FAILED"]
    record = {
        "schema": 1,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "checkpoint": checkpoint_facts(job.checkpoint, job.network),
        "data": {"name": job.dataset.name, "images": len(job.dataset), "sha256": job.dataset.sha256},
        "size": list(job.size),
        "calibration": _calibration_facts(job),
        "artifacts": [asdict(outcome.step) for outcome in outcomes],
        "gates": job.gates.to_json(),
        "failures": [*refused, *job.gates.failures(quality, latency)],
        **details,
        "commands": [job.command],
        "environment": here,
    }
    write_json(folder / RUN_FILE, record)


def checkpoint_facts(checkpoint: "Checkpoint", network: "SpanDeploy") -> dict[str, Any]:
    """What a report says of the checkpoint, JSON-ready."""
    from models.cost import count_macs, count_parameters

    return {
        "name": checkpoint.name,
        "file": checkpoint.path.name,
        "sha256": checkpoint.sha256,
        "form": checkpoint.form,
        "notes": list(checkpoint.notes),
        "config": checkpoint.config.to_json(),
        "parameters": count_parameters(network),
        "macs_per_lr_pixel": count_macs(network),
    }


def _calibration_facts(job: "Job") -> dict[str, Any] | None:
    """The images that the run calibrated on; None where it did not."""
    if job.quantization is None:
        return None
    plan = job.quantization
    data = {"name": plan.calibration.name, "images": len(plan.calibration), "sha256": plan.calibration.sha256}
    return {**data, "method": plan.method, "effort": plan.effort, "seed": plan.seed}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as it is read best."""
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
