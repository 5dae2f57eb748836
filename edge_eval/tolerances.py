"""Every threshold of the project with where it comes from; tests and gates read them here."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """A limit, its unit, and its origin."""

    limit: float
    unit: str
    origin: str


TOLERANCES: dict[str, Tolerance] = {
    "published_psnr_y": Tolerance(
        limit=0.02,
        unit="dB",
        origin="required; the paper's table has two decimals, the rest is image decoding and float order",
    ),
    "float_drift_fp32": Tolerance(
        limit=100.0,
        unit="dB, at least, outputs before rounding",
        origin="required; float32 rounding over 22 convolutions, measured 124.6 dB and more in TFLite files",
    ),
    "float_drift_fp16": Tolerance(
        limit=65.0,
        unit="dB, at least, outputs before rounding",
        origin="required; measured 74.2 dB and more in TFLite files, whose filters alone are rounded",
    ),
    "tiled_float": Tolerance(
        limit=4e-6,
        unit="intensity in [0, 1]",
        origin="float kernels add in another order for another width; measured 1.1e-6 on outputs up to 1.0",
    ),
    "backends_agree": Tolerance(
        limit=1e-4, unit="intensity in [0, 1]", origin="required of the two TFLite backends, float32"
    ),
    "arm_float": Tolerance(
        limit=1e-5,
        unit="of the largest output",
        origin="Arm's float kernels add in another order than x86's; measured 1.0e-6 on outputs up to 1.0",
    ),
    "emulator_time": Tolerance(
        limit=2.5,
        unit="times PyTorch's eager time",
        origin="required on SPAN x4 at 128x128, same cores; timing, so shown and never asserted",
    ),
}

PUBLISHED_PSNR_Y_DB: dict[int, dict[str, float]] = {
    2: {"Set5": 38.08, "Set14": 33.71, "B100": 32.22},
    4: {"Set5": 32.20, "Set14": 28.66, "B100": 27.62},
}
"""SPAN's table 1 by scale: PSNR-Y in dB of the official 48-channel checkpoints."""


def limit(name: str) -> float:
    """The limit of a row of `TOLERANCES`."""
    return TOLERANCES[name].limit
