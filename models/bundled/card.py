"""The model card of a bundled checkpoint, as Markdown: a function of what is known of it."""

from collections.abc import Iterable, Mapping

from .description import BundledCheckpoint

TRAINING_ROWS = {
    "training_data": "training images",
    "held_out": "held-out images",
    "held_out_psnr_y_db": "PSNR-Y on them, dB",
    "steps": "steps",
    "loss": "loss",
    "best_step": "step of the best validation, which is kept",
    "hours": "hours",
    "ended": "ended",
    "seed": "seed",
    "torch": "PyTorch",
}
"""Entries of the file's metadata, and what the card calls them."""


def card_text(checkpoint: BundledCheckpoint) -> str:
    """The card, ending in a line break.

    `NAME.md` beside the checkpoint is this text, which `span-edge models NAME` prints.
    """
    blocks = [
        f"# {checkpoint.name}",
        _what(checkpoint),
        _facts(checkpoint),
        "## Quality",
        "Float network, whole images, low resolution by MATLAB-style bicubic reduction, output rounded to 8 "
        f"bits, {checkpoint.config.upscale} pixels cut from the border, on Y:",
        _quality(checkpoint),
        _code([checkpoint.measured.command]),
        "## Training",
        _training(checkpoint),
        _table(("", ""), _training_rows(checkpoint.training)),
        _code([checkpoint.training["command"]]),
        "## Limits",
        _list(checkpoint.measured.limits),
        "## Licence",
        _list(checkpoint.measured.licence),
    ]
    return "\n\n".join(blocks) + "\n"


def _what(checkpoint: BundledCheckpoint) -> str:
    config = checkpoint.config
    return (
        f"SPAN (arXiv:2311.12770) x{config.upscale} with {config.feature_channels} feature channels, RGB, "
        "for photographs that were reduced by bicubic interpolation. The file holds the training form: the "
        "branches of every Conv3XC, which span-edge folds when it loads them."
    )


def _facts(checkpoint: BundledCheckpoint) -> str:
    return _table(
        ("", ""),
        {
            "scale": f"{checkpoint.config.upscale}",
            "feature channels": f"{checkpoint.config.feature_channels}",
            "parameters, folded": f"{checkpoint.parameters:,}",
            "parameters, training form": f"{checkpoint.trained_parameters:,}",
            "MACs per output pixel": f"{checkpoint.macs_per_output_pixel:,.0f}",
            "MACs per input pixel": f"{checkpoint.macs_per_lr_pixel:,}",
            "file": f"`{checkpoint.path.name}`, {checkpoint.size_bytes:,} bytes",
            "sha256": f"`{checkpoint.sha256}`",
        }.items(),
    )


def _quality(checkpoint: BundledCheckpoint) -> str:
    measured = checkpoint.measured
    rows = (
        (name, f"{psnr:.2f}", f"{measured.ssim_y[name]:.4f}") for name, psnr in measured.psnr_y_db.items()
    )
    return _table(("test set", "PSNR-Y, dB", "SSIM-Y"), rows)


def _training(checkpoint: BundledCheckpoint) -> str:
    teacher = checkpoint.measured.teacher
    if not teacher:
        return "From scratch, without a teacher."
    return (
        f"From scratch, by distillation: beside the original it learned from the output of {teacher} "
        f"(`{checkpoint.training['teacher']}`)."
    )


def _training_rows(training: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((title, training[key]) for key, title in TRAINING_ROWS.items() if key in training)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _code(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
