"""The folder of the emulated cores: what it is made of, and why it cannot be made or used."""

import json
import os
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from edge_eval.arm import CORES, default_folder, prepare_folder, why_unavailable
from edge_eval.arm import folder as folder_module
from edge_eval.arm.folder import PREPARED, SITE, core_root
from edge_eval.runtimes.table import RUNTIMES, open_runner
from models.errors import InputError

PATH_AT_START = os.environ["PATH"]
WHEEL = f"ai_edge_litert-{version('ai-edge-litert')}-cp311-cp311-any.whl"

APT_GET = """#!/bin/sh
echo "$@" >> "{log}"
for word in "$@"; do case $word in Dir::Cache=*) cache=${{word#Dir::Cache=}};; esac; done
case "$*" in
*--download-only*) touch "$cache/archives/libc6_2.36-9_arm64.deb" "$cache/archives/python_3_arm64.deb";;
esac
"""
APT_CACHE = "#!/bin/sh\necho 'python3'; echo '  PreDepends: python3-minimal'; echo '  Depends: python3.11 '\n"
DPKG = '#!/bin/sh\nmkdir -p "$3/usr/bin" "$3/lib"; touch "$3/usr/bin/python3.11"\n'
QEMU = "#!/bin/sh\necho 'Available CPUs:'; echo '  cortex-a53'; echo '  cortex-a76'\n"


def script(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt, dpkg and pip that play their parts without a network, first on the PATH."""
    folder = tmp_path / "bin"
    script(folder, "apt-get", APT_GET.format(log=tmp_path / "apt.log"))
    script(folder, "apt-cache", APT_CACHE)
    script(folder, "dpkg", DPKG)
    script(folder, "qemu-aarch64-static", QEMU)
    monkeypatch.setenv("PATH", f"{folder}:{PATH_AT_START}")

    def fetch(python_version: str, glibc_minor: int, target: Path) -> list[Path]:
        assert (python_version, glibc_minor) == ("3.11", 36)
        target.mkdir()
        with zipfile.ZipFile(target / WHEEL, "w") as wheel:
            wheel.writestr("litert/interpreter.py", "")
        return [target / WHEEL]

    monkeypatch.setattr(folder_module, "_fetch_wheels", fetch)
    return folder


def test_the_folder_has_python_the_wheels_and_every_core(clients: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    made = prepare_folder(
        tmp_path / "arm", progress=lambda stage, done, total, detail="": steps.append((done, total))
    )
    assert json.loads((made / PREPARED).read_text()) == {"python": "python3.11", "wheels": [WHEEL]}
    assert steps[0] == (0, 5) and steps[-1] == (5, 5)
    for name, core in CORES.items():
        root = core_root(made, name)
        assert (root / "usr" / "bin" / "python3.11").is_file()
        assert (root / SITE / "litert" / "interpreter.py").is_file()
        assert f"CPU part\t: {core.part:#05x}\n" in (root / "proc" / "cpuinfo").read_text()
        assert not (root / "usr").readlink().is_absolute()
    assert not (made / "downloads").exists()
    asked = (tmp_path / "apt.log").read_text()
    assert "python3.11-minimal libpython3.11-stdlib libstdc++6" in asked and "Dir::State::status=" in asked


def test_cpuinfo_has_a_block_for_every_core_there_is() -> None:
    text = CORES["cortex-a53"].cpuinfo(3)
    assert [line for line in text.splitlines() if line.startswith("processor")] == [
        f"processor\t: {index}" for index in range(3)
    ]
    assert "asimddp" not in text and "asimddp" in CORES["cortex-a76"].cpuinfo(1)


def test_a_failing_client_is_quoted_and_leaves_nothing(clients: Path, tmp_path: Path) -> None:
    script(
        clients,
        "apt-get",
        "#!/bin/sh\necho 'W: hm' >&2; echo 'E: no arm64 here' >&2; echo bye >&2; exit 100\n",
    )
    with pytest.raises(InputError, match="apt-get failed with exit code 100: E: no arm64 here"):
        prepare_folder(tmp_path / "arm")
    assert not (tmp_path / "arm").exists()
    assert not list(tmp_path.glob(".arm*"))


def test_lists_without_python(clients: Path, tmp_path: Path) -> None:
    script(clients, "apt-cache", "#!/bin/sh\necho 'N: nothing'\n")
    with pytest.raises(
        InputError, match="the package lists of arm64 name no python3: apt-cache said 'N: noth"
    ):
        prepare_folder(tmp_path / "arm")


def test_a_folder_that_exists_is_kept(clients: Path, tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    with pytest.raises(InputError, match="exists already; give --overwrite"):
        prepare_folder(tmp_path / "arm")
    prepare_folder(tmp_path / "arm", overwrite=True)
    assert (tmp_path / "arm" / PREPARED).is_file()


def test_without_package_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match="apt-get, apt-cache, dpkg not found.*prepare it on a Debian or Ubuntu"
    ):
        prepare_folder(tmp_path / "arm")


def test_why_a_core_is_not_available(clients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = tmp_path / "arm"
    assert (
        why_unavailable("cortex-a76", folder=arm)
        == f"there is no prepared {arm}; run span-edge prepare-aarch64"
    )
    assert why_unavailable("cortex-a55", folder=arm) == (
        "qemu-aarch64-static does not know a cortex-a55; install a newer QEMU"
    )
    prepare_folder(arm)
    assert why_unavailable("cortex-a76", folder=arm) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_unavailable("cortex-a76", folder=arm) == (
        "qemu-aarch64-static is not on the PATH; install qemu-user-static"
    )


def test_a_folder_of_another_version_is_not_used(clients: Path, tmp_path: Path) -> None:
    arm = prepare_folder(tmp_path / "arm")
    (arm / PREPARED).write_text(json.dumps({"python": "python3.11", "wheels": ["ai_edge_litert-1.0-x.whl"]}))
    reason = why_unavailable("cortex-a76", folder=arm)
    assert reason is not None and "holds ai-edge-litert 1.0 and here is" in reason
    assert "run span-edge prepare-aarch64 --overwrite" in reason


@pytest.mark.parametrize("record", ["", "{}", "[]", '{"wheels": 3}', '{"wheels": [3]}', '{"python": "py'])
def test_a_damaged_record_is_told(clients: Path, tmp_path: Path, record: str) -> None:
    arm = prepare_folder(tmp_path / "arm")
    (arm / PREPARED).write_text(record)
    damaged = f"{arm} has a damaged {PREPARED}; run span-edge prepare-aarch64 --overwrite"
    assert why_unavailable("cortex-a76", folder=arm) == damaged


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SPAN_EDGE_AARCH64", raising=False)
    assert default_folder() == tmp_path / "span-edge" / "aarch64"
    monkeypatch.setenv("SPAN_EDGE_AARCH64", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"


def test_every_core_is_a_runtime_whose_time_is_no_latency(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = {name: row for name, row in RUNTIMES.items() if name.startswith("tflite-aarch64")}
    assert list(rows) == ["tflite-aarch64", "tflite-aarch64-a55", "tflite-aarch64-a53", "tflite-aarch64-max"]
    assert all(row.is_emulator and row.kind == "tflite" for row in rows.values())
    monkeypatch.setenv("SPAN_EDGE_AARCH64", str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match="runtime tflite-aarch64 is not available here: qemu-aarch64-static is not"
    ):
        open_runner(Path("a.tflite"), runtime="tflite-aarch64")
