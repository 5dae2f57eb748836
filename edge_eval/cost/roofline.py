"""The roofline estimate: an operation takes as long as its arithmetic or its traffic, whichever is longer."""

from dataclasses import asdict, dataclass
from typing import Any

from .operation import Costs, OpCost
from .profile import Profile

MODEL = "roofline-1"
"""Name and version of the model, on every figure from it."""

ASSUMPTIONS = (
    "every operation reaches the profile's peak or its bandwidth; real kernels reach a part of it",
    "every tensor goes to memory and comes back; caches and fusion save some of that",
    "operations run one after the other, and starting them costs nothing",
)


@dataclass(frozen=True, kw_only=True)
class OpEstimate:
    """One operation's part: milliseconds of arithmetic and of traffic, None where no figure is known."""

    cost: OpCost
    compute_ms: float | None
    memory_ms: float | None

    @property
    def ms(self) -> float | None:
        """The longer of the two; None where one is needed and unknown."""
        parts = (self.compute_ms, self.memory_ms)
        return None if None in parts else max(part for part in parts if part is not None)

    @property
    def bound(self) -> str | None:
        """Which of the two it is."""
        if self.compute_ms is None or self.memory_ms is None:
            return None
        return "compute" if self.compute_ms >= self.memory_ms else "memory"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A file's time on a profile, by a model: an estimate, not a latency.

    Attributes:
        costs: what was counted.
        profile: what it was divided by.
        operations: each operation's part.
        reason: why there is no total, else None.
        model: `MODEL`.
    """

    costs: Costs
    profile: Profile
    operations: tuple[OpEstimate, ...]
    reason: str | None
    model: str = MODEL

    @property
    def estimated_ms(self) -> float | None:
        """The sum over the operations; None with a `reason`."""
        return _sum([op.ms for op in self.operations])

    @property
    def compute_ms(self) -> float | None:
        """Arithmetic alone, at the peaks."""
        return _sum([op.compute_ms for op in self.operations])

    @property
    def memory_ms(self) -> float | None:
        """Traffic alone, at the bandwidth."""
        return _sum([op.memory_ms for op in self.operations])

    def to_json(self) -> dict[str, Any]:
        """An entry of `results` of `estimate --json`."""
        return {
            "kind": "estimate",
            "model": self.model,
            "artifact": self.costs.artifact,
            "format": self.costs.format,
            "input_hw": list(self.costs.input_hw),
            "profile": self.profile.name,
            "estimated_ms": self.estimated_ms,
            "compute_ms": self.compute_ms,
            "memory_ms": self.memory_ms,
            "macs": self.costs.macs,
            "bytes": self.costs.bytes,
            "reason": self.reason,
            "operations": [
                {
                    **asdict(op.cost),
                    "intensity": op.cost.intensity,
                    "estimated_ms": op.ms,
                    "bound": op.bound,
                }
                for op in self.operations
            ],
        }


def estimate(costs: Costs, profile: Profile) -> Estimate:
    """The roofline estimate of a file on a profile.

    Per operation max(operations / peak(precision), bytes / bandwidth), summed: Williams et al. 2009, equation
    "attainable = min(peak, bandwidth * intensity)", solved for time.
    """
    parts = tuple(_part(op, profile) for op in costs.operations)
    missing = sorted(
        {
            op.precision
            for op in costs.operations
            if op.operations and profile.peak_gops.get(op.precision) is None
        }
    )
    lacks = [f"{name} rate" for name in missing]
    if profile.bandwidth_gb_s is None:
        lacks.append("memory bandwidth")
    reason = f"no public figure is known for {profile.name}'s {' and '.join(lacks)}" if lacks else None
    return Estimate(costs=costs, profile=profile, operations=parts, reason=reason)


def _part(op: OpCost, profile: Profile) -> OpEstimate:
    peak, bandwidth = profile.peak_gops.get(op.precision), profile.bandwidth_gb_s
    compute = 0.0 if not op.operations else None if peak is None else op.operations / peak / 1e6
    memory = None if bandwidth is None else op.bytes / bandwidth / 1e6
    return OpEstimate(cost=op, compute_ms=compute, memory_ms=memory)


def _sum(parts: list[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
