"""What is read from image files, what is converted, and each refusal."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_eval.frames import is_image, read_frame, write_frame
from models.errors import InputError

RNG = np.random.default_rng(5)
COLOUR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)


def png_16_bit(path: Path, *, colour: bool) -> None:
    """A 16-bit PNG, written by hand since Pillow writes none in colour."""
    channels = 3 if colour else 1
    rows = b"".join(b"\0" + bytes(range(0, 2 * 4 * channels)) for _ in range(4))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 4, 4, 16, 2 if colour else 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_lossless_formats_give_their_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_array_equal(read_frame(path), COLOUR)


def test_jpeg_is_read(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), 90, np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.jpg", quality=100)
    np.testing.assert_allclose(read_frame(tmp_path / "a.jpg"), flat, atol=1)


def test_of_an_mpo_the_first_picture_is_read(tmp_path: Path) -> None:
    """The JPEG that some phones write, with a second picture behind the first."""
    first, second = (np.full((16, 16, 3), level, np.uint8) for level in (40, 200))
    Image.fromarray(first).save(
        tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.fromarray(second)]
    )
    assert np.abs(read_frame(tmp_path / "a.jpg").astype(int) - first).max() <= 2


def test_grey_becomes_rgb_and_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), np.repeat(GREY[:, :, None], 3, 2))
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png", channels=1)[:, :, 0], GREY)


def test_colour_becomes_grey_in_full_range(tmp_path: Path) -> None:
    Image.fromarray(np.repeat(GREY[:, :, None], 3, 2)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "grey.png", channels=1)[:, :, 0], GREY)
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")
    expected = COLOUR @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_frame(tmp_path / "colour.png", channels=1)[:, :, 0] - expected).max() < 1


def test_bilevel_becomes_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GREY > 127).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png")[:, :, 1], np.where(GREY > 127, 255, 0))


def test_palette_becomes_rgb(tmp_path: Path) -> None:
    few = COLOUR[:, :, :] // 128 * 255
    Image.fromarray(few).quantize(8, dither=Image.Dither.NONE).save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), few)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    upright = {
        1: COLOUR,
        2: COLOUR[:, ::-1],
        3: COLOUR[::-1, ::-1],
        4: COLOUR[::-1],
        5: COLOUR.transpose(1, 0, 2),
        6: np.rot90(COLOUR, -1),
        7: COLOUR[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(COLOUR),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), upright)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_dropped(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png")[:, :, 2], GREY)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour key"])
def test_transparency_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind in ("RGBA", "LA"):
        image = Image.fromarray(GREY).convert(kind)
        image.putalpha(254)
        image.save(path)
    elif kind == "palette":
        Image.fromarray(COLOUR).quantize(8).save(path, transparency=0)
    else:
        Image.fromarray(COLOUR).save(path, transparency=tuple(int(v) for v in COLOUR[0, 0]))
    with pytest.raises(InputError, match=r"a\.png has transparent pixels.*flatten it onto a background"):
        read_frame(path)


@pytest.mark.parametrize("colour", [True, False])
def test_16_bit_png_is_refused(tmp_path: Path, colour: bool) -> None:
    png_16_bit(tmp_path / "a.png", colour=colour)
    assert Image.open(tmp_path / "a.png").size == (4, 4)
    with pytest.raises(InputError, match=r"a\.png has 16 bits or more per channel; convert it to 8 bits"):
        read_frame(tmp_path / "a.png")


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_deep_tiff_is_refused(tmp_path: Path, dtype: type) -> None:
    Image.fromarray(GREY.astype(dtype)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="has 16 bits or more per channel"):
        read_frame(tmp_path / "a.tif")


def test_16_bit_colour_tiff_is_refused(tmp_path: Path) -> None:
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", COLOUR.astype(np.uint16) * 257, photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif"):
        read_frame(tmp_path / "a.tif")


def test_float_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="holds floating-point pixels; convert it to 8 bits per channel"):
        read_frame(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_refused(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / f"a.{suffix}")
    with pytest.raises(InputError, match=r"holds printing inks \(CMYK\).*convert it to RGB"):
        read_frame(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_several_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    pictures = [Image.fromarray(COLOUR), Image.fromarray(COLOUR[::-1])]
    pictures[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pictures[1:])
    with pytest.raises(InputError, match="holds 2 pictures .* give one picture per file"):
        read_frame(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tif"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused_by_name(tmp_path: Path, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=rf"cut\.{suffix}.*(cannot be read|damaged)"):
        read_frame(cut)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(
        InputError, match=r"a\.png cannot be read: it is empty, damaged or not PNG, JPEG, BMP, WebP or TIFF$"
    ):
        read_frame(tmp_path / "a.png")
    Image.fromarray(GREY).save(tmp_path / "b.gif")
    (tmp_path / "b.gif").rename(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        read_frame(tmp_path / "b.png")


def test_names_of_images() -> None:
    assert is_image(Path("a.JPeG")) and is_image(Path("a.webp"))
    assert not is_image(Path("a.gif")) and not is_image(Path("._a.png")) and not is_image(Path("a"))


def test_frames_are_written_as_png(tmp_path: Path) -> None:
    write_frame(COLOUR, tmp_path / "a.png")
    write_frame(GREY[:, :, None], tmp_path / "b.png")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png"), COLOUR)
    assert Image.open(tmp_path / "b.png").mode == "L"
    with pytest.raises(InputError, match="exists already"):
        write_frame(COLOUR, tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.jpg would not be a PNG file"):
        write_frame(COLOUR, tmp_path / "a.jpg")
