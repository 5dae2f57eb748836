"""Rows of times and of quality for the tests of gates."""

from typing import Any

from edge_eval.report_data import HostLatency, ImageFigures, Quality


def timed(artifact: str, median_ms: float | None, **changes: Any) -> HostLatency:
    """A row of `bench`."""
    fields: dict[str, Any] = {
        "artifact": artifact,
        "runtime": "tflite",
        "threads": 1,
        "input_hw": (16, 12),
        "warmup": 1,
        "runs": 2,
        "init_ms": 1.0,
        "median_ms": median_ms,
        "p90_ms": median_ms,
        "min_ms": median_ms,
        "mean_ms": median_ms,
        "std_ms": 0.5,
        "peak_rss_mb": 100.0,
        "size_bytes": 100_000,
        "ops": {},
        "reason": None if median_ms is not None else "an emulator",
    }
    return HostLatency(**{**fields, **changes})


def judged(artifact: str, psnr_y_db: float | None, **changes: Any) -> Quality:
    """A row of `eval`, 30 dB in float."""
    drop_db = None if psnr_y_db is None else 30.0 - psnr_y_db
    image = ImageFigures(
        name="i",
        psnr_y_db=psnr_y_db,
        ssim_y=0.9,
        float_psnr_y_db=30.0,
        drop_db=drop_db,
        drift_psnr_y_db=50.0,
        max_abs_8bit=3,
    )
    fields: dict[str, Any] = {
        "artifact": artifact,
        "sha256": "0" * 64,
        "format": "tflite",
        "recipe": "fp16",
        "method": None,
        "runtime": "tflite",
        "dataset": "photos",
        "scale": 2,
        "images": 1,
        "psnr_y_db": psnr_y_db,
        "ssim_y": 0.9,
        "float_psnr_y_db": 30.0,
        "drop_db": drop_db,
        "drift_psnr_y_db": 50.0,
        "max_abs_8bit": 3,
        "per_image": (image,),
    }
    return Quality(**{**fields, **changes})
