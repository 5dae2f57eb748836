"""Where nobody listens, progress is told in vain and without harm."""

from models import Progress, silent


def test_silent_takes_what_stages_tell() -> None:
    progress: Progress = silent
    progress("fold", 1, 2)
    progress("fold", 2, 2, detail="done")
