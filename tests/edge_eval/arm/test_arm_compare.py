"""How differences between an Arm core and this computer are told and explained."""

from pathlib import Path

import numpy as np
import pytest

from convert.artifact import Artifact
from edge_eval.arm import compare
from edge_eval.arm.compare import compare_cores, judge_core

BASE = np.linspace(0.1, 0.9, 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 3)


def judged(got: np.ndarray, *, integer: bool = False, alike: bool = True) -> compare.CoreComparison:
    return judge_core("a", "arm", BASE, got, integer=integer, delegated_alike=alike)


def test_the_same_bytes() -> None:
    result = judged(BASE.copy(), integer=True)
    assert (result.same_bytes, result.explained, result.why) == (True, True, "same bytes")
    assert (result.largest, result.frames_differ, result.max_abs_8bit) == (0, 0, 0)


def test_last_bits_of_float_files_are_explained() -> None:
    result = judged(BASE + np.float32(1e-6))
    assert not result.same_bytes and result.explained and "add in another order" in result.why


def test_more_than_one_level_is_not() -> None:
    got = BASE.copy()
    got[0, 0, 0] += np.float32(0.02)
    result = judged(got)
    assert not result.explained and result.why.startswith("not explained: another order of adding")
    assert result.max_abs_8bit == 5 and result.frames_differ == pytest.approx(1 / BASE.size)


def test_integer_files_may_not_differ_at_all() -> None:
    got = BASE.copy()
    got[0, 0, 0] += np.float32(1 / 255)
    result = judged(got, integer=True)
    assert not result.explained and "integer kernels must agree" in result.why
    assert judged(got, integer=True, alike=False).explained


def test_a_file_is_compared_on_every_core(
    monkeypatch: pytest.MonkeyPatch, tflite_float: Artifact, image: np.ndarray
) -> None:
    asked: list[str | None] = []
    real = compare.open_runner

    def opened(path: Path, *, runtime: str | None = None, threads: int | None = None) -> object:
        asked.append(runtime)
        kernels = "tflite-plain" if runtime == "tflite-aarch64-a53" else "tflite"
        return real(path, runtime=kernels, threads=threads)

    monkeypatch.setattr(compare, "open_runner", opened)
    picture = np.ascontiguousarray(image[:20, :24])
    cores = ["tflite-aarch64", "tflite-aarch64-a53"]
    same, plain = compare_cores(tflite_float.path, picture, runtimes=cores)
    assert asked == ["tflite", *cores]
    assert same.same_bytes and not plain.same_bytes
    assert "left to TFLite's own kernels" in plain.why and (same.runtime, plain.runtime) == tuple(cores)
