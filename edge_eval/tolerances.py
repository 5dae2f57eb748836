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
    "stated_psnr_y": Tolerance(
        limit=0.002,
        unit="dB",
        origin="model cards state three decimals; float order on other computers flips some roundings",
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
    "fold_float64": Tolerance(
        limit=1e-10,
        unit="of the largest output",
        origin="the fold is exact; float64 over 22 convolutions, measured 1e-13 and less on one of them",
    ),
    "fold_step_float64": Tolerance(
        limit=1e-13, unit="of the largest output", origin="one step of the fold's algebra in float64"
    ),
    "fold_float32": Tolerance(
        limit=1e-5,
        unit="of the largest output",
        origin="as fold_float64; a forgotten bias shows ten times that and more",
    ),
    "fold_negative_control": Tolerance(
        limit=1e-2,
        unit="of the largest output, at least",
        origin="zeros padded after the first 1x1 instead of before it change the border by far more",
    ),
    "small_network_fp32": Tolerance(
        limit=110.0,
        unit="dB of signal to error, at least",
        origin="the same float32 operations in another order on small random networks",
    ),
    "small_network_fp16": Tolerance(
        limit=50.0,
        unit="dB of signal to error, at least",
        origin="weights rounded to 11 bits on small random networks, whose outputs have any range",
    ),
    "small_network_wrong": Tolerance(
        limit=20.0,
        unit="dB of signal to error, at most",
        origin="negative control: channels in another order are another picture",
    ),
    "stored_weights": Tolerance(
        limit=1e-6,
        unit="relative",
        origin="float32 weights are moved, not computed; merged ones are rounded once",
    ),
    "integer_ties": Tolerance(
        limit=0.01,
        unit="part of the pixels, at most",
        origin="between nodes in floating point a value halfway between two steps may fall either way",
    ),
    "integer_wrong": Tolerance(
        limit=0.1,
        unit="part of the pixels, at least",
        origin="negative control: one wrong scale changes far more pixels than ties do",
    ),
    "pure_colours": Tolerance(
        limit=30.0,
        unit="squared 8-bit levels",
        origin="areas of pure red, green and so on in w8a8; measured 15 and less, 86 without care (x4)",
    ),
    "w8a16_levels": Tolerance(
        limit=1.0, unit="8-bit grey levels", origin="16-bit steps are 64 times finer than a grey level"
    ),
    "plain_kernel_noise": Tolerance(
        limit=1.5,
        unit="times the simulation's squared error",
        origin="LiteRT's plain kernels round a convolution twice, and a step is amplified on the way",
    ),
    "file_as_simulated_xnnpack": Tolerance(
        limit=38.0,
        unit="dB, at least, file against simulation",
        origin="XNNPACK differs from exact arithmetic in one element of a million, which is amplified",
    ),
    "file_as_simulated_plain": Tolerance(
        limit=30.0,
        unit="dB, at least, file against simulation",
        origin="plain kernels differ in one element of two hundred",
    ),
    "file_as_good_as_simulated": Tolerance(
        limit=0.35,
        unit="dB between the PSNR of file and simulation, on one crop of 48x64",
        origin="all kernels have the same noise, but for chance: 0.28 and less with ranges from least "
        "to greatest; over Set5, properly quantized, 0.004",
    ),
    "formats_agree": Tolerance(
        limit=50.0,
        unit="dB, at least, mean over Set5, all channels",
        origin="required of TFLite and Core ML files of one quantized checkpoint; with float32 arithmetic",
    ),
    "formats_as_good": Tolerance(
        limit=0.03,
        unit="dB of PSNR-Y, mean over Set5",
        origin="required of every kernel set and both formats against the simulation",
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
    "baseline_psnr": Tolerance(
        limit=0.01,
        unit="dB, at most less than a baseline",
        origin="integer files made twice agree to 0.003 dB; what a table with two decimals shows",
    ),
    "baseline_size": Tolerance(
        limit=0.01,
        unit="part, at most more than a baseline",
        origin="metadata differs by a few hundred bytes",
    ),
    "baseline_latency": Tolerance(
        limit=0.15,
        unit="part, at most more than a baseline, relative to another row",
        origin="p90 lies 4 to 8 % above the median on a quiet computer, for both rows of a ratio",
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
