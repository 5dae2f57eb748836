"""The rows of times that a run will have, so that limits on them can be refused before it starts."""

from typing import TYPE_CHECKING

from .latency_gate import PlannedRow
from .runtimes.table import RUNTIMES, default_runtime

if TYPE_CHECKING:
    from .pipeline import Job


def planned_rows(job: "Job") -> list[PlannedRow]:
    """A row for the float network and one for each file that the formats have."""
    from convert.formats import FORMATS

    float_row = PlannedRow(
        artifact=job.checkpoint.path.name,
        runtime=default_runtime("checkpoint"),
        recipe="fp32",
        timed=bool(job.runs),
    )
    rows = [float_row]
    for format_name in job.formats:
        row, runtime = FORMATS[format_name], default_runtime(format_name)
        for recipe in job.recipes:
            if recipe in row.recipes:
                planned = PlannedRow(
                    artifact=f"{job.checkpoint.name}_{recipe}{row.suffix}",
                    runtime=runtime,
                    recipe=recipe,
                    timed=bool(job.runs) and not RUNTIMES[runtime].is_emulator,
                )
                rows.append(planned)
    return rows
