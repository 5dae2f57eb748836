"""The gate on earlier results: what counts as worse, with which figures, and what it refuses."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from gate_support import judged, timed

from edge_eval.baseline import Allowed, Baseline, read_baseline
from edge_eval.report_data import Quality
from edge_eval.tolerances import limit
from models import InputError

FLOAT, FAST = timed("f.tflite", 100.0), timed("q.tflite", 50.0)
OLD = Baseline(name="old.json", quality=(judged("a.tflite", 29.8),), latency=(FLOAT, FAST))


def worse(quality: object = None, latency: object = None, old: Baseline = OLD) -> list[str]:
    """What fails, where only what is given differs from the baseline."""
    new_quality = old.quality if quality is None else quality
    new_latency = old.latency if latency is None else latency
    return list(old.failures(new_quality, new_latency))  # type: ignore[arg-type]


def test_the_same_results_and_better_ones_pass() -> None:
    assert worse() == []
    better = (judged("a.tflite", 29.9), judged("new.tflite", 1.0))
    assert worse(better, (FLOAT, timed("q.tflite", 45.0, size_bytes=1), timed("new", 999.0))) == []


def test_a_slower_computer_passes_if_all_rows_are_slower_alike() -> None:
    assert worse(latency=(timed("f.tflite", 300.0), timed("q.tflite", 150.0))) == []


def test_the_tolerances_are_kept_to_the_digit() -> None:
    allowed = Allowed()
    assert allowed == Allowed(
        psnr=limit("baseline_psnr"), size=limit("baseline_size"), latency=limit("baseline_latency")
    )
    inside, outside = 29.8 - 0.9 * allowed.psnr, 29.8 - 1.1 * allowed.psnr
    assert worse((judged("a.tflite", inside),)) == []
    assert worse((judged("a.tflite", outside),)) != []


@pytest.mark.parametrize(
    ("psnr_db", "line"),
    [
        (
            29.7,
            "a.tflite on tflite, photos: PSNR-Y 29.7000 dB, 0.1000 less than in old.json (29.8000); "
            "0.01 is allowed",
        ),
        (None, "a.tflite on tflite, photos: has no PSNR now, and 29.8000 dB in old.json"),
    ],
)
def test_quality_that_fell_is_named(psnr_db: float | None, line: str) -> None:
    assert worse((judged("a.tflite", psnr_db),)) == [line]


def test_a_psnr_that_is_no_number_fails() -> None:
    assert worse((judged("a.tflite", float("nan")),)) != []


def test_missing_rows_fail() -> None:
    assert worse((), ()) == [
        "a.tflite on tflite, photos: is in old.json and not among the results",
        "f.tflite on tflite, 16x12, 1 thread: is in old.json and not among the results",
        "q.tflite on tflite, 16x12, 1 thread: is in old.json and not among the results",
    ]
    other = (judged("a.tflite", 29.8, dataset="others"),)
    assert worse(other) == ["a.tflite on tflite, photos: is in old.json and not among the results"]


def test_a_file_that_grew_is_named() -> None:
    assert worse(latency=(FLOAT, timed("q.tflite", 50.0, size_bytes=120_000))) == [
        "q.tflite: 120,000 bytes, 20.0% more than in old.json (100,000); 1.0% is allowed"
    ]


def test_a_file_that_grew_is_named_once_and_where_only_its_quality_is_known_too() -> None:
    def rows(size: int) -> tuple[Quality, ...]:
        row = replace(judged("a.tflite", 29.8), size_bytes=size)
        return row, replace(row, dataset="others")

    line = "a.tflite: 1,100 bytes, 10.0% more than in old.json (1,000); 1.0% is allowed"
    assert worse(rows(1100), old=replace(OLD, quality=rows(1000), latency=())) == [line]
    both = replace(OLD, quality=rows(1000), latency=(timed("a.tflite", 1.0, size_bytes=1000), FLOAT))
    grown = (timed("a.tflite", 1.0, size_bytes=1100), FLOAT)
    assert worse(rows(1100), grown, old=both) == [line]


def test_a_size_that_an_earlier_document_does_not_have_fails_nothing() -> None:
    assert worse((replace(judged("a.tflite", 29.8), size_bytes=5),), old=replace(OLD, latency=())) == []


def slower(*growths: float, floor_ratio: float | None = None) -> list[str]:
    """The names of rows that fail, where the time of each is so many times what it was."""
    rows = [
        timed(f"{number}", 10.0 * number, floor_ratio=floor_ratio) for number in range(1, len(growths) + 1)
    ]
    old = Baseline(name="old.json", latency=tuple(rows))
    new = [
        replace(
            row,
            median_ms=(row.median_ms or 0.0) * growth,
            floor_ratio=None if row.floor_ratio is None else row.floor_ratio * growth,
        )
        for row, growth in zip(rows, growths, strict=True)
    ]
    return [line.partition(" ")[0] for line in old.failures((), new)]


@pytest.mark.parametrize(
    ("growths", "named"),
    [
        ((3.0, 1.0), ["1"]),
        ((1.0, 3.0), ["2"]),
        ((3.0, 1.0, 1.0), ["1"]),
        ((1.0, 1.2, 1.2), ["2", "3"]),
        ((3.0, 3.0, 3.0), []),
        ((0.5, 1.0, 1.0, 1.0), []),
        ((6.0, 2.0, 2.0, 2.0), ["1"]),
    ],
)
def test_every_row_is_held_against_another_the_first_as_well(
    growths: tuple[float, ...], named: list[str]
) -> None:
    assert slower(*growths) == named


def test_all_rows_that_became_slower_alike_fail_by_the_matrix_product() -> None:
    assert slower(3.0, 3.0, floor_ratio=2.0) == ["1"]
    assert slower(1.0, 3.0, floor_ratio=2.0) == ["2"]


def test_a_first_row_that_became_slower_is_named() -> None:
    assert worse(latency=(timed("f.tflite", 300.0), FAST)) == [
        "f.tflite on tflite, 16x12, 1 thread: takes 6.000 times as long as q.tflite, 200.0% more than in "
        "old.json (2.000); 15.0% is allowed"
    ]


def test_what_is_little_more_than_allowed_is_said_with_the_digits_that_show_it() -> None:
    allowed = Allowed(psnr=0.01, latency=0.15)
    old = Baseline(name="old.json", quality=OLD.quality, latency=OLD.latency, allowed=allowed)
    (line,) = worse((judged("a.tflite", 29.78999),), old=old)
    assert "0.01001 less than in old.json (29.8000); 0.01 is allowed" in line
    (line,) = worse(latency=(FLOAT, timed("q.tflite", 57.51)), old=old)
    assert "15.02% more than in old.json (0.500); 15.0% is allowed" in line


def test_a_time_that_grew_as_a_part_of_another_rows_is_named() -> None:
    assert worse(latency=(timed("f.tflite", 50.0), FAST)) == [
        "q.tflite on tflite, 16x12, 1 thread: takes 1.000 times as long as f.tflite, 100.0% more than in "
        "old.json (0.500); 15.0% is allowed"
    ]


def test_a_row_that_lost_its_time_fails() -> None:
    (line,) = worse(latency=(FLOAT, timed("q.tflite", None)))
    assert (
        line == "q.tflite on tflite, 16x12, 1 thread: has no time now (an emulator), and 50.00 ms in old.json"
    )
    untimed = Baseline(name="old.json", latency=(timed("q", None),))
    assert list(untimed.failures((), untimed.latency)) == []


def test_a_lone_row_is_held_against_the_matrix_product_or_fails() -> None:
    alone = Baseline(name="old.json", latency=(FAST,))
    (line,) = alone.failures((), alone.latency)
    assert line.endswith("so its time cannot be compared; time a second file with it")
    known = Baseline(name="old.json", latency=(timed("q.tflite", 50.0, floor_ratio=2.0),))
    assert list(known.failures((), known.latency)) == []
    (line,) = known.failures((), (timed("q.tflite", 10.0, floor_ratio=3.0),))
    assert "takes 3.000 times as long as this computer's matrix product, 50.0% more" in line


def test_tolerances_are_read() -> None:
    assert Allowed.read("psnr=0.5, latency=2") == Allowed(psnr=0.5, latency=2.0)
    assert (
        worse(
            (judged("a.tflite", 29.7),), old=Baseline(name="", quality=OLD.quality, allowed=Allowed(psnr=0.2))
        )
        == []
    )
    for text in ("psnr", "ssim=1", "psnr=much", ""):
        with pytest.raises(InputError, match="is no tolerance; give psnr, size, latency as name=number"):
            Allowed.read(text)


def test_baselines_are_read_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"schema": 1, "results": [asdict(FLOAT)]}))
    assert read_baseline(path, Allowed(), needs=("latency",)).latency == (FLOAT,)
    with pytest.raises(
        InputError, match=r"old.json holds no result of eval to compare with; give its --json"
    ):
        read_baseline(path, Allowed(), needs=("quality",))
    with pytest.raises(InputError, match="no .*absent"):
        read_baseline(tmp_path / "absent", Allowed(), needs=("quality",))
