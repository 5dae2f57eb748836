"""What `benchmark_model` prints, read.

The lines that count, as it prints them today (a prefix such as `INFO: ` comes before each, and not in older
versions, which have no `p5`, `median` and `p95` either):

    Replacing 42 out of 44 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions ...
    Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 1 ...
    Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.
    count=50 first=9876 curr=9650 min=9601 max=10400 avg=9700.5 std=120 p5=9610 median=9680 p95=9990
    Inference timings in us: Init: 5579, First inference: 13576, Warmup (avg): 13000, Inference (avg): 9700.5
    Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
    Overall peak memory footprint (MB) via periodic monitoring: 93.2383
"""

import re
from dataclasses import dataclass

_NUMBER = r"[-+.\deE]+"
_PAIR = re.compile(rf"(\w+)=({_NUMBER})")
_COUNT = re.compile(r"count=\d+ .*")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: ({_NUMBER}), First inference: ({_NUMBER}), "
    rf"Warmup \(avg\): ({_NUMBER}), Inference \(avg\): ({_NUMBER})"
)
_REPLACING = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \((\w+)\)")
_REFUSED = re.compile(r"Though (\w+) delegate is explicitly applied, the model graph will not be")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({_NUMBER})")
_DELTA = re.compile(
    rf"Memory footprint delta from the start of the tool \(MB\): init=\S+ overall=({_NUMBER})"
)
_ERROR = re.compile(r"ERROR: (.+)")


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """The figures of one run; times in milliseconds, None where this version does not print them.

    Attributes:
        runs: how many runs the figures are of.
        std_ms: the standard deviation that the tool prints, in whole microseconds.
        peak_rss_mb: most memory that the tool saw, by its periodic check; else what it grew by.
        delegated: by delegate's name: nodes that it took, and how many there were.
        refused: delegates that were asked for and run nothing, by the names that the tool prints.
    """

    runs: int
    init_ms: float
    first_ms: float
    min_ms: float
    mean_ms: float
    std_ms: float
    median_ms: float | None
    p95_ms: float | None
    peak_rss_mb: float | None
    delegated: dict[str, tuple[int, int]]
    refused: tuple[str, ...]


def read_transcript(text: str) -> Transcript | None:
    """The figures in what the tool printed, or None where it did not come to its end."""
    timings = _TIMINGS.search(text)
    counts = [dict(_PAIR.findall(line)) for line in _COUNT.findall(text)]
    if timings is None or not counts or not {"count", "first"} <= counts[-1].keys() | {"first"}:
        return None
    last = {"first": "0", "std": "0", "min": timings[4], **counts[-1]}
    peak = _PEAK.search(text) or _DELTA.search(text)
    return Transcript(
        runs=int(last["count"]),
        init_ms=_ms(timings[1]),
        first_ms=_ms(timings[2]),
        min_ms=_ms(last["min"]),
        mean_ms=_ms(timings[4]),
        std_ms=_ms(last["std"]),
        median_ms=_ms(last["median"]) if "median" in last else None,
        p95_ms=_ms(last["p95"]) if "p95" in last else None,
        peak_rss_mb=float(peak[1]) if peak else None,
        delegated={name: (int(taken), int(of)) for taken, of, name in _REPLACING.findall(text)},
        refused=tuple(_REFUSED.findall(text)),
    )


def last_error(text: str) -> str:
    """Why the tool failed: its last error, or its last line."""
    errors = _ERROR.findall(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found: str = errors[-1] if errors else (lines[-1] if lines else "it printed nothing")
    return found.strip()


def _ms(microseconds: str) -> float:
    return float(microseconds) / 1e3
