"""How figures are written in reports, on the terminal and in HTML alike."""

from .report_data import AgreementFigures, Row

MOST_DIGITS = 16
"""After the point; smaller differences are shown with an exponent."""
FORMAT_NAMES = {"tflite": "TFLite", "coreml": "Core ML", "checkpoint": "PyTorch"}


def format_name(key: str) -> str:
    """A format's name as its makers write it."""
    return FORMAT_NAMES.get(key, key)


def db_text(value: float | None) -> str:
    """A PSNR in dB, two digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def ssim_text(value: float | None) -> str:
    """An SSIM, four digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"


def drop_text(value: float | None) -> str:
    """A change in dB, three digits, with its sign unless it rounds to nothing; a dash where unknown."""
    if value is None:
        return "–"
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def drift_text(value: float | None) -> str:
    """A drift in dB, or `identical`."""
    return "identical" if value is None else f"{value:.1f}"


def figure_text(value: float | None) -> str:
    """Three significant digits, and every one before the point; a dash where there is no figure."""
    if value is None:
        return "–"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


ms_text = figure_text
"""Milliseconds."""


def beyond_text(value: float, limit: float, *, digits: int) -> str:
    """A figure with so many digits after the point, or as many more as show that it is not the limit.

    Args:
        value: more than the limit, or less, or no number.
        limit: what it is held against, in the same unit.
        digits: after the point, at least.
    """
    texts = (f"{value:.{count}f}" for count in range(digits, MOST_DIGITS))
    beyond = (text for text in texts if (float(text) > limit) == (value > limit) and float(text) != limit)
    return next(beyond, str(value))


def limit_text(limit: float) -> str:
    """A limit as short as it can be told exactly, and so as it was given."""
    short = f"{limit:g}"
    return short if float(short) == limit else str(limit)


def megabytes_text(row: Row) -> str:
    """The artifact's size in MB (10^6 bytes), or a dash where nothing was made."""
    size = row.step.size_bytes or (row.latency.size_bytes if row.latency else None)
    return "–" if size is None else f"{size / 1e6:.2f}"


def agreement_text(agreed: AgreementFigures) -> str:
    """How near two files' pictures are, as one sentence."""
    over = f"{agreed.images} image{'s' * (agreed.images != 1)}"
    if not agreed.images:
        both = f"{agreed.first} and {agreed.second}"
        return f"SKIPPED agreement of {both}: every image is smaller than a file's size"
    if agreed.psnr_db is None:
        return f"{agreed.first} and {agreed.second} give the same pixels on {over}"
    largest = f"largest difference {agreed.max_abs_8bit} of 255"
    return (
        f"{agreed.first} and {agreed.second} agree to {agreed.psnr_db:.1f} dB "
        f"(mean PSNR of their 8-bit outputs over {over}; least {agreed.least_psnr_db:.1f} dB, {largest})"
    )
