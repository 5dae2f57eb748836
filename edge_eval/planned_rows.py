"""The rows of times that there will be, so that limits on them can be refused before anything starts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.errors import InputError

from .latency_gate import PlannedRow
from .runtimes.table import RUNTIMES, default_runtime

if TYPE_CHECKING:
    from .pipeline import Job
    from .timed_file import TimedFile


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


def planned_files(files: "Sequence[TimedFile]", *, one_size: bool) -> list[PlannedRow]:
    """A row for each file that `bench` times on this computer.

    Args:
        files: the files on their runtimes.
        one_size: whether all of them run at the sizes that were asked for, and not each at its own.
    """
    return [_planned_file(file, one_size=one_size) for file in files]


def _planned_file(file: "TimedFile", *, one_size: bool) -> PlannedRow:
    from .latency import native_hw
    from .quantized_file import is_quantized

    simulated = file.runtime == "torch" and is_quantized(file.path)
    timed = file.reason is None and not simulated and not RUNTIMES[file.runtime].is_emulator
    own_hw = None
    if timed and not one_size:
        try:
            own_hw = native_hw(file.path, file.runtime)
        except InputError:
            timed = False
    return PlannedRow(
        artifact=file.path.name,
        runtime=file.runtime,
        recipe=file.recipe,
        compared=file.compared,
        timed=timed,
        input_hw=own_hw,
    )
