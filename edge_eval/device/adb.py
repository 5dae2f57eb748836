"""One Android device behind `adb`: found, described, and a folder on it that is removed afterwards."""

import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.errors import InputError

REMOTE_HOME = "/data/local/tmp"
"""Where every Android lets adb's user write and run programs."""

PROPERTIES = {
    "model": "ro.product.model",
    "chip": "ro.soc.model",
    "board": "ro.board.platform",
    "android": "ro.build.version.release",
    "abi": "ro.product.cpu.abi",
}
LIMIT_S = 900
_HOW = "turn on USB debugging, connect it, and accept this computer on its screen"


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device that answers.

    Attributes:
        adb: the program.
        serial: the device's name in `adb devices`.
        properties: what it says of itself; keys of `PROPERTIES`, empty where it says nothing.
    """

    adb: Path
    serial: str
    properties: dict[str, str]

    @property
    def name(self) -> str:
        """A few words for people."""
        return " ".join(
            filter(None, (self.properties.get("model"), self.properties.get("chip"), self.serial))
        )

    def shell(self, command: str) -> tuple[int, str]:
        """Exit code and output, standard error included, of a command on the device.

        Raises:
            InputError: the device does not answer any more, or not within `LIMIT_S`.
        """
        marked = f"({command}) 2>&1; echo exit=$?"
        text = _adb(self.adb, "-s", self.serial, "shell", marked)
        output, mark, code = text.replace("\r", "").rpartition("exit=")
        if not mark or not code.strip().isdigit():
            raise InputError(f"the device {self.serial} broke off in the middle of: {command}")
        return int(code), output

    def push(self, source: Path, target: str) -> None:
        """Copy a file onto the device.

        Raises:
            InputError: it cannot be copied, for want of room, say.
        """
        _adb(self.adb, "-s", self.serial, "push", str(source), target)

    @contextmanager
    def folder(self) -> Iterator[str]:
        """A new folder on the device, removed with all that is in it when the block ends."""
        path = f"{REMOTE_HOME}/span-edge-{uuid.uuid4().hex[:12]}"
        code, said = self.shell(f"mkdir {path}")
        if code:
            raise InputError(f"cannot write on the device {self.serial}: {' '.join(said.split())}")
        try:
            yield path
        finally:
            self.shell(f"rm -rf {shlex.quote(path)}")


def find_device(serial: str | None = None) -> Device:
    """The device with that serial number, or the only one.

    Raises:
        InputError: adb or the device is missing, does not answer, or there are several; what to do is said.
    """
    found = shutil.which("adb")
    if found is None:
        raise InputError("adb is not on the PATH; install Android's platform-tools (package adb on Debian)")
    adb = Path(found)
    states = _states(_adb(adb, "devices"))
    ready = [name for name, state in states.items() if state == "device"]
    if serial is None and len(ready) > 1:
        raise InputError(f"there are {len(ready)} devices; name one: --adb {' or --adb '.join(ready)}")
    chosen = serial or (ready[0] if ready else None)
    if chosen not in ready:
        listed = ", ".join(f"{name} ({state})" for name, state in states.items()) or "none"
        missing = f"no device {serial}" if serial else "no Android device that answers"
        raise InputError(f"{missing}; adb lists {listed}: {_HOW}")
    device = Device(adb=adb, serial=str(chosen), properties={})
    told = {key: device.shell(f"getprop {name}")[1].strip() for key, name in PROPERTIES.items()}
    return Device(adb=adb, serial=device.serial, properties=told)


def _states(listing: str) -> dict[str, str]:
    """State by serial number, out of `adb devices`."""
    rows = [line.split(maxsplit=1) for line in listing.splitlines() if "\t" in line]
    return {name: state.strip() for name, state in rows}


def _adb(adb: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            [adb, *words], capture_output=True, text=True, errors="replace", check=False, timeout=LIMIT_S
        )
    except OSError as error:
        raise InputError(
            f"cannot run {adb}: {error.strerror}; install Android's platform-tools, or take this off the PATH"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"adb {words[-2]} did not end within {LIMIT_S} s; is the device awake?") from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()) or "it said nothing"
        raise InputError(f"adb {' '.join(words[:3])} failed with exit code {done.returncode}: {said}")
    return done.stdout
