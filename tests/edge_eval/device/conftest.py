"""A device that is not there: an `adb` on the PATH that plays transcripts and notes what it is asked."""

import json
import os
import sys
from pathlib import Path

import pytest
from device_support import CPU, GPU, NPU_REFUSES, FakeDevice

PATH_AT_START = os.environ["PATH"]

ADB = r"""
import json, pathlib, re, subprocess, sys
home = pathlib.Path(__file__).parent
script = json.loads((home / "device.json").read_text())
words = sys.argv[1:]
with (home / "asked.txt").open("a") as log:
    log.write(" ".join(words) + "\n")
if words == ["devices"]:
    print("List of devices attached")
    for name, state in script["devices"].items():
        print(f"{name}\t{state}")
    sys.exit(0)
assert words[:1] == ["-s"] and words[1] in script["devices"]
files = json.loads((home / "files.json").read_text()) if (home / "files.json").exists() else []
if words[2] == "push":
    if script["full"]:
        print("adb: error: failed to copy: No space left on device", file=sys.stderr)
        sys.exit(1)
    files.append(words[4])
    print(f"{words[3]}: 1 file pushed")
elif words[2] == "shell":
    command = re.fullmatch(r"\((.*)\) 2>&1; echo exit=\$\?", words[3])[1]
    code = 0
    if command.startswith("getprop "):
        print(script["properties"].get(command.split()[1], ""))
    elif command.startswith("rm -rf "):
        files = [name for name in files if not name.startswith(command.split()[2])]
    elif "benchmark_model --graph" in command:
        which = "npu" if "--use_nnapi=true" in command else "gpu" if "--use_gpu=true" in command else "cpu"
        assert len(files) >= 2 and all(name.rsplit("/", 1)[0] in command for name in files)
        code, text = script["runs"][which]
        print(text)
    print("\r") if script["gone"] and "benchmark" in command else print(f"exit={code}\r")
(home / "files.json").write_text(json.dumps(files))
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """One phone that takes every file on its CPU, most of one on its GPU, and none on its NPU."""
    home = tmp_path / "adb"
    home.mkdir()
    (home / "adb").write_text(f"#!{sys.executable} -S\n{ADB}")
    (home / "adb").chmod(0o755)
    script = {
        "devices": {"SER1AL": "device"},
        "properties": {
            "ro.product.model": "Phone 1",
            "ro.soc.model": "CHIP1",
            "ro.build.version.release": "15",
        },
        "runs": {"cpu": [0, CPU], "gpu": [0, GPU], "npu": [0, NPU_REFUSES]},
        "full": False,
        "gone": False,
    }
    (home / "device.json").write_text(json.dumps(script))
    monkeypatch.setenv("PATH", f"{home}:{PATH_AT_START}")
    return FakeDevice(home=home)


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A benchmark_model that no computer could run; it is only pushed."""
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"\x7fELF")
    return path
