"""The folder with an Arm Python and LiteRT in it: what it needs, and how it is made.

It is no root file system and nothing is installed: Debian's arm64 packages and the aarch64 wheels are
unpacked, by the same package clients and from the same registries that this computer is set up with.

    FOLDER/root/usr, lib, ...   the packages, with the wheels in root/opt/site
    FOLDER/cores/NAME/          links to them, and the proc/cpuinfo of that core
    FOLDER/prepared.json        what is in there; written last
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

from models.errors import InputError
from models.files import refuse_existing, written_whole
from models.progress import Progress, silent

from .cores import CORES

FOLDER_VARIABLE = "SPAN_EDGE_AARCH64"
QEMU_NAMES = ("qemu-aarch64-static", "qemu-aarch64")
SITE = "opt/site"
PREPARED = "prepared.json"
LITERT = "ai-edge-litert"
WHEELS = (LITERT, "numpy")
"""All that LiteRT's interpreter imports; of the versions that are installed here."""

OLDEST_MANYLINUX = 17
STAGE = "prepare aarch64"


def default_folder() -> Path:
    """The folder that `SPAN_EDGE_AARCH64` names, else `span-edge/aarch64` in the user's cache."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "span-edge" / "aarch64"


def qemu() -> Path | None:
    """QEMU's user emulator for aarch64, where it is installed."""
    found = next(filter(None, map(shutil.which, QEMU_NAMES)), None)
    return Path(found) if found else None


def core_root(folder: Path, core: str) -> Path:
    """What the core sees as `/`."""
    return folder.resolve() / "cores" / core


def why_unavailable(core: str, *, folder: Path) -> str | None:
    """Why a core cannot be emulated here, and what to do; None where it can."""
    emulator = qemu()
    if not sys.platform.startswith("linux"):
        return f"QEMU's user emulation is Linux's and this is {sys.platform}"
    if emulator is None:
        return f"{QEMU_NAMES[0]} is not on the PATH; install qemu-user-static"
    if core not in emulated_cores(emulator):
        return f"{emulator.name} does not know a {core}; install a newer QEMU"
    if not (folder / PREPARED).is_file():
        return f"there is no prepared {folder}; run span-edge prepare-aarch64"
    here, there = metadata.version(LITERT), prepared_version(folder)
    if here != there:
        what = f"holds {LITERT} {there} and here is {here}" if there else f"has a damaged {PREPARED}"
        return f"{folder} {what}; run span-edge prepare-aarch64 --overwrite"
    return None


def prepared_version(folder: Path) -> str | None:
    """The version of LiteRT in a prepared folder; None where its record does not say."""
    try:
        wheels = json.loads((folder / PREPARED).read_text(encoding="utf-8"))["wheels"]
        parts = [wheel.split("-") for wheel in wheels if "-" in wheel]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {part[0].replace("_", "-"): part[1] for part in parts}.get(LITERT)


@functools.cache
def emulated_cores(emulator: Path) -> frozenset[str]:
    """The cores that this QEMU knows."""
    told = subprocess.run([emulator, "-cpu", "help"], capture_output=True, text=True, check=False).stdout
    return frozenset(told.split())


def prepare_folder(
    folder: Path | None = None, *, overwrite: bool = False, progress: Progress = silent
) -> Path:
    """Fetch and unpack what `start_core` needs; about 25 s and 160 MB, of which 45 MB are downloaded.

    Args:
        folder: where to; None: `default_folder()`.
        overwrite: replace what is there.
        progress: told after each step.

    Returns:
        The folder.

    Raises:
        InputError: the folder exists, a package client is missing, or one fails: its last words are given.
    """
    target = default_folder() if folder is None else folder
    refuse_existing(target, overwrite=overwrite, folder=True)
    _require_clients()
    with written_whole(target, overwrite=overwrite) as scratch:
        scratch.mkdir()
        downloads = scratch / "downloads"
        steps = ("package lists", "Python for Arm", "unpack it", "LiteRT for Arm", "the cores")
        progress(STAGE, 0, len(steps), steps[0])
        apt = _Apt(downloads)
        apt.run("update")
        progress(STAGE, 1, len(steps), steps[1])
        python = apt.default_python()
        apt.run("install", "--download-only", f"{python}-minimal", f"lib{python}-stdlib", "libstdc++6")
        progress(STAGE, 2, len(steps), steps[2])
        _unpack_packages(apt.archives, scratch / "root")
        progress(STAGE, 3, len(steps), steps[3])
        wheels = _fetch_wheels(
            python.removeprefix("python"), _glibc_minor(apt.archives), downloads / "wheels"
        )
        for wheel in wheels:
            zipfile.ZipFile(wheel).extractall(scratch / "root" / SITE)
        progress(STAGE, 4, len(steps), steps[4])
        for core in CORES:
            _lay_out_core(scratch, core)
        shutil.rmtree(downloads)
        contents = {"python": python, "wheels": [wheel.name for wheel in wheels]}
        (scratch / PREPARED).write_text(json.dumps(contents, indent=2) + "\n")
        progress(STAGE, len(steps), len(steps), str(target))
    return target


class _Apt:
    """apt with lists, cache and status of its own: the computer's packages are neither read nor changed."""

    def __init__(self, folder: Path) -> None:
        self.archives = folder / "cache" / "archives"
        (self.archives / "partial").mkdir(parents=True)
        (folder / "lists" / "partial").mkdir(parents=True)
        (folder / "status").touch()
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Debug::NoLocking": "true",
            "Dir::Cache": str(folder.resolve() / "cache"),
            "Dir::State::Lists": str(folder.resolve() / "lists"),
            "Dir::State::status": str(folder.resolve() / "status"),
        }
        self._options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]

    def run(self, *words: str) -> None:
        """apt-get."""
        _run("apt-get", *self._options, "-y", *words)

    def default_python(self) -> str:
        """The package behind `python3`, such as `python3.11`."""
        told = _run("apt-cache", *self._options, "depends", "--important", "python3")
        found = re.search(r"Depends: (python3\.\d+)\s", told)
        if found is None:
            raise InputError(f"the package lists of arm64 name no python3: apt-cache said {told.strip()!r}")
        return found[1]


def _require_clients() -> None:
    missing = [name for name in ("apt-get", "apt-cache", "dpkg") if shutil.which(name) is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} not found: the folder is made of Debian's arm64 packages; prepare it on a "
            f"Debian or Ubuntu, copy it here, and name it in {FOLDER_VARIABLE}"
        )


def _unpack_packages(archives: Path, root: Path) -> None:
    packages = sorted(archives.glob("*.deb"))
    root.mkdir()
    for package in packages:
        _run("dpkg", "-x", str(package), str(root))


def _glibc_minor(archives: Path) -> int:
    """N of glibc 2.N among the packages: wheels for a newer one would not load."""
    found = (re.match(r"libc6_2\.(\d+)", package.name) for package in archives.glob("libc6_*.deb"))
    return next((int(match[1]) for match in found if match), OLDEST_MANYLINUX)


def _fetch_wheels(python_version: str, glibc_minor: int, folder: Path) -> list[Path]:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc_minor, OLDEST_MANYLINUX - 1, -1)]
    options = [part for name in (*platforms, "manylinux2014_aarch64") for part in ("--platform", name)]
    command = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wanted = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    only = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python_version]
    _run(sys.executable, *command, *only, *options, "--dest", str(folder), *wanted)
    return sorted(folder.glob("*.whl"))


def _lay_out_core(folder: Path, core: str) -> None:
    """A `/` for the core: the packages by relative links, and a `/proc/cpuinfo` of its own."""
    root = folder / "cores" / core
    (root / "proc").mkdir(parents=True)
    for entry in sorted((folder / "root").iterdir()):
        (root / entry.name).symlink_to(Path("..") / ".." / "root" / entry.name)
    (root / "proc" / "cpuinfo").write_text(CORES[core].cpuinfo(os.cpu_count() or 1))


def _run(*command: str) -> str:
    """What a package client prints.

    Raises:
        InputError: it fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        words = next((line for line in said if line.startswith(("E:", "ERROR"))), said[-1] if said else "")
        name = Path(command[0]).name
        raise InputError(f"{name} failed with exit code {done.returncode}: {words or 'it said nothing'}")
    return done.stdout
