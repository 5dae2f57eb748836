"""The host's matrix products: which there are, and what is made of their rates; never a rate."""

import json

import pytest

from edge_eval.floor import MACS, Floor, floor_of, products

FLOOR = Floor(
    threads=1,
    input_hw=(8, 8),
    gmacs_per_s={"fp32": 50.0, "int8": 200.0},
    samples_ms={"fp32": (20.0,), "int8": (5.0,)},
)


def test_milliseconds_are_macs_over_rates() -> None:
    assert FLOOR.ms({"fp32": 10**9}) == pytest.approx(20.0)
    assert FLOOR.ms({"int8": 10**9, "fp32": 10**8}) == pytest.approx(5.0 + 2.0)


def test_fp16_files_compute_in_fp32_here() -> None:
    assert FLOOR.ms({"fp16": 10**9}) == FLOOR.ms({"fp32": 10**9})


@pytest.mark.parametrize("macs", [None, {}, {"int16": 5}, {"fp32": 5, "int16": 5}])
def test_what_has_no_product_has_no_floor(macs: dict[str, int] | None) -> None:
    assert FLOOR.ms(macs) is None


def test_products_run_and_give_rates() -> None:
    done = products(["fp16", "fp32", "int8", "int16"], threads=1)
    assert list(done) == ["fp32", "int8"]
    for one in done.values():
        one.run(1)
    floor = floor_of(done, threads=1, input_hw=(4, 6))
    for name, one in done.items():
        assert floor.gmacs_per_s[name] == pytest.approx(MACS / (one.samples_ms[0] * 1e-3) / 1e9)
    assert json.loads(json.dumps(floor.to_json()))["input_hw"] == [4, 6]
