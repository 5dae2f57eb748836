import pytest

from convert.coreml_sizes import MOST_ENUMERATED, Sizes
from models import InputError


def test_fixed_sizes():
    sizes = Sizes.fixed(24, 32)
    assert sizes.is_fixed
    assert sizes.times(4) == Sizes.fixed(96, 128)
    assert Sizes.among([(24, 32)]) == sizes


def test_enumerated_sizes():
    sizes = Sizes.among([(24, 32), (8, 8)])
    assert not sizes.is_fixed
    assert sizes.default == (24, 32)
    assert sizes.times(2).enumerated == ((48, 64), (16, 16))


def test_ranges():
    sizes = Sizes.between((8, 16), (64, 128), default=(24, 32))
    assert not sizes.is_fixed
    assert sizes.times(2) == Sizes.between((16, 32), (128, 256), default=(48, 64))
    assert Sizes.between((8, 16), (64, 128)).default == (8, 16)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sizes.fixed(0, 32), "size (0, 32) is not two whole numbers of pixels from 1 up"),
        (lambda: Sizes.fixed(24, -1), "size (24, -1) is not"),
        (lambda: Sizes.fixed(24, 1.5), "size (24, 1.5) is not"),
        (lambda: Sizes.among([]), "no size was given; give at least one"),
        (lambda: Sizes.among([(8, 8), (0, 8)]), "size (0, 8) is not"),
        (lambda: Sizes.among([(8, 8), (9, 9), (8, 8)]), "sizes 8x8, 9x9, 8x8 repeat; give each once"),
        (lambda: Sizes.among([(8, n) for n in range(1, MOST_ENUMERATED + 2)]), "129 sizes are more than"),
        (
            lambda: Sizes(default=(7, 7), enumerated=((8, 8), (9, 9))),
            "the default 7x7 is not among the sizes",
        ),
        (lambda: Sizes.between((64, 8), (8, 64)), "the range of sizes 64x8 to 8x64 is inverted"),
        (lambda: Sizes.between((8, 8), (64, 64), default=(8, 65)), "the default 8x65 is outside the range"),
        (lambda: Sizes.between((8, 8), (64, 0)), "size (64, 0) is not"),
        (lambda: Sizes(default=(8, 8), smallest=(8, 8)), "has a smallest and a largest size and no list"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InputError) as refused:
        make()
    assert message in str(refused.value)
