"""Pairs of low and high resolution, from folders, single files, or the photographs in scikit-image."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from models.errors import InputError
from models.files import sha256_of
from models.progress import Progress, silent

from .frames import READABLE, Channels, is_image, read_frame
from .metrics import SSIM_WINDOW
from .resize import downscale, modcrop
from .runner import Frame

Purpose = Literal["evaluation", "calibration"]

BUNDLED: dict[Purpose, tuple[str, ...]] = {
    "evaluation": ("astronaut.png", "chelsea.png", "coffee.png"),
    "calibration": ("motorcycle_left.png", "motorcycle_right.png", "rocket.jpg"),
}
"""The colour photographs in scikit-image's wheel. Both motorcycles are one scene: kept together."""

LR_MARKS = re.compile(r"([_-]?x\d+|[_-](?:LR|LRBI|BI|bicubic))$", re.IGNORECASE)
HR_MARKS = re.compile(r"[_-](?:HR|GT)$", re.IGNORECASE)
LISTED_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture: `lr` (H, W, C) and, where known, `hr` (scale*H, scale*W, C), both uint8."""

    name: str
    lr: Frame
    hr: Frame | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Where one sample comes from; without `lr` it is made from `hr`, without `hr` nothing is compared."""

    name: str
    hr: Path | None
    lr: Path | None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples read one at a time, in natural order of their names (`img2` before `img10`).

    Attributes:
        name: the folder's name, or `skimage-evaluation` and the like.
        scale: pixels of high resolution per pixel of low, along each side.
        channels: 3 for RGB, 1 for grey.
        pairs: the files.
        ignored: entries of the folders that are no images.
    """

    name: str
    scale: int
    channels: Channels
    pairs: tuple[Pair, ...]
    ignored: int = 0

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.pairs)

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples, each when it is asked for."""
        return (self.sample(index) for index in range(len(self)))

    def sample(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            InputError: a file is refused (see `read_frame`), is too small, or the sizes of a pair do not fit.
        """
        pair = self.pairs[index]
        lr, hr = self._frames(pair)
        if lr is None:
            assert hr is not None, "a pair has at least one file"
            lr = downscale(hr, self.scale)
        return Sample(name=pair.name, lr=lr, hr=hr)

    def require_usable(self, progress: Progress = silent) -> None:
        """Refuse the dataset before any work is done if one of its images will be refused later.

        Raises:
            InputError: as `sample`, or an image is too small to be judged.
        """
        for done, pair in enumerate(self.pairs, start=1):
            _, hr = self._frames(pair)
            least = SSIM_WINDOW + 2 * self.scale
            if hr is not None and min(hr.shape[:2]) < least:
                raise InputError(
                    f"{pair.hr}: {hr.shape[0]}x{hr.shape[1]} pixels (HxW) are too few to judge at a scale "
                    f"of {self.scale}; give images with at least {least} pixels on both sides"
                )
            progress("check images", done, len(self.pairs), pair.name)

    def _frames(self, pair: Pair) -> tuple[Frame | None, Frame | None]:
        """Low and high resolution as far as there are files, the latter cut to multiples of the scale."""
        lr = None if pair.lr is None else read_frame(pair.lr, channels=self.channels)
        hr = None if pair.hr is None else read_frame(pair.hr, channels=self.channels)
        if hr is not None and lr is None:
            hr = self._cropped(hr, pair)
        elif hr is not None and lr is not None:
            self._require_fit(lr, hr, pair)
        return lr, hr

    def first(self, count: int) -> "Dataset":
        """The first `count` samples as a dataset of its own."""
        return replace(self, name=f"{self.name}[:{count}]", pairs=self.pairs[:count])

    @cached_property
    def sha256(self) -> str:
        """A hash over the names and contents of all files, the scale and the channels, for provenance."""
        digest = hashlib.sha256(f"scale {self.scale} channels {self.channels}\n".encode())
        for pair in self.pairs:
            hashes = ["-" if path is None else sha256_of(path) for path in (pair.hr, pair.lr)]
            digest.update(f"{pair.name}\0{' '.join(hashes)}\n".encode())
        return digest.hexdigest()

    def _cropped(self, hr: Frame, pair: Pair) -> Frame:
        try:
            return modcrop(hr, self.scale)
        except InputError as error:
            raise InputError(f"{pair.hr}: {error}") from error

    def _require_fit(self, lr: Frame, hr: Frame, pair: Pair) -> None:
        height, width = (self.scale * side for side in lr.shape[:2])
        if hr.shape[:2] != (height, width):
            raise InputError(
                f"{pair.hr} is {hr.shape[0]}x{hr.shape[1]} (HxW), but {pair.lr} is "
                f"{lr.shape[0]}x{lr.shape[1]} and {self.scale} times that is {height}x{width}; "
                "give pairs whose sizes differ by exactly the scale"
            )


def open_dataset(
    source: Path | None = None, *, scale: int, lr: Path | None = None, channels: Channels = 3
) -> Dataset:
    """The dataset in a folder or file; nothing is read but names.

    Args:
        source: high resolution: a folder of images (subfolders are not searched) or one image. Low resolution
            is made from it by MATLAB-style bicubic reduction, its sides cut to multiples of `scale` first.
            None: the bundled photographs for evaluation or, where `lr` is given, no high resolution at all.
        scale: pixels of high resolution per pixel of low.
        lr: ready-made low resolution, matched by name without marks such as `x4`, `_LR`, `_HR` at the end.
        channels: 3 for RGB, 1 for grey.

    Raises:
        InputError: nothing there, no images, two images of one name, or pairs that do not match.
    """
    if source is None and lr is None:
        return bundled_photographs("evaluation", scale=scale, channels=channels)
    hr_files, hr_ignored = _images_in(source) if source is not None else ([], 0)
    lr_files, lr_ignored = _images_in(lr) if lr is not None else ([], 0)
    folder = source or lr
    assert folder is not None
    if source is not None and lr is not None:
        pairs = _matched(hr_files, lr_files, (source, lr), scale)
    else:
        pairs = [Pair(name=p.stem, hr=p, lr=None) for p in hr_files]
        pairs += [Pair(name=p.stem, hr=None, lr=p) for p in lr_files]
    name = folder.resolve().name if folder.is_dir() else folder.name
    ignored = hr_ignored + lr_ignored
    return Dataset(name=name, scale=scale, channels=channels, pairs=tuple(pairs), ignored=ignored)


def bundled_photographs(purpose: Purpose, *, scale: int, channels: Channels = 3) -> Dataset:
    """Photographs that need no network; those for calibration never serve for evaluation.

    Raises:
        InputError: the installed scikit-image does not carry them.
    """
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    files = [folder / name for name in BUNDLED[purpose]]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f"the installed scikit-image does not carry {', '.join(missing)}; "
            "give a folder of images of your own (--data DIR)"
        )
    pairs = tuple(Pair(name=file.stem, hr=file, lr=None) for file in files)
    return Dataset(name=f"skimage-{purpose}", scale=scale, channels=channels, pairs=pairs)


def _images_in(source: Path) -> tuple[list[Path], int]:
    """The image files in natural order, and how many other entries stand beside them."""
    if source.is_file():
        return [source], 0
    if not source.is_dir():
        raise InputError(f"{source} does not exist; give an image ({READABLE}) or a folder of images")
    entries = list(source.iterdir())
    images = sorted((p for p in entries if p.is_file() and is_image(p)), key=natural_order)
    if not images:
        raise InputError(
            f"{source} holds no image among its {len(entries)} entries; give a folder with {READABLE} files "
            "(folders inside it are not searched)"
        )
    _refuse_twins(images, [p.stem for p in images])
    return images, len(entries) - len(images)


def natural_order(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts `img2` before `img10` and does not mind capitals."""
    parts = re.findall(r"\d+|\D+", path.stem.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts], path.name


def _refuse_twins(files: Sequence[Path], names: Sequence[str]) -> None:
    seen: dict[str, Path] = {}
    for file, name in zip(files, names, strict=True):
        if name in seen:
            raise InputError(
                f"{seen[name]} and {file.name} would both be called {name!r}; keep one or rename it"
            )
        seen[name] = file


def _matched(hr: list[Path], lr: list[Path], folders: tuple[Path, Path], scale: int) -> list[Pair]:
    """Pairs by name: equal names first, then names without the marks of their kind."""
    if folders[0].is_file() and folders[1].is_file():
        return [Pair(name=hr[0].stem, hr=hr[0], lr=lr[0])]
    lr_by_name = {file.stem: file for file in lr}
    if not {file.stem for file in hr} <= set(lr_by_name):
        names = [_unmarked(file.stem, LR_MARKS) for file in lr]
        _refuse_twins(lr, names)
        lr_by_name = dict(zip(names, lr, strict=True))
        hr_names = [_unmarked(file.stem, HR_MARKS) for file in hr]
        _refuse_twins(hr, hr_names)
    else:
        hr_names = [file.stem for file in hr]
    lonely = sorted(set(hr_names) ^ set(lr_by_name))
    if lonely:
        listed = ", ".join(lonely[:LISTED_NAMES]) + (", ..." if len(lonely) > LISTED_NAMES else "")
        raise InputError(
            f"{len(lonely)} images have no partner between {folders[0]} and {folders[1]}: "
            f"{listed}; "
            f"both folders need the same names (marks such as x{scale}, _LR, _HR at the end do not count)"
        )
    return [Pair(name=name, hr=file, lr=lr_by_name[name]) for name, file in zip(hr_names, hr, strict=True)]


def _unmarked(name: str, marks: re.Pattern[str]) -> str:
    while (shorter := marks.sub("", name)) not in (name, ""):
        name = shorter
    return name
