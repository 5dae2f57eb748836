"""The interpreter behind a pipe, with this computer's own Python and LiteRT for the emulated ones."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.artifact import Artifact
from edge_eval.arm import ArmInterpreter, ArmProcess, start_core
from edge_eval.arm import process as process_module
from edge_eval.arm.process import WORKER
from edge_eval.arm.worker import plain, read_message, write_message
from edge_eval.runtimes import tflite_aarch64
from edge_eval.runtimes.table import open_runner
from models.errors import InputError


@pytest.fixture(scope="module")
def here() -> ArmProcess:
    return ArmProcess([sys.executable, "-P", str(WORKER)], what="LiteRT here")


def test_messages_arrive_as_they_were_sent() -> None:
    arrays = [
        np.arange(6, dtype=np.uint8).reshape(1, 2, 3),
        np.array(1.5, np.float32),
        np.zeros((0, 4), "<i4"),
    ]
    pipe = io.BytesIO()
    write_message(pipe, {"call": "x", "args": [1, [2, 3]]}, arrays)
    write_message(pipe, {"call": "y"}, [])
    pipe.seek(0)
    message, got = read_message(pipe)
    assert message == {"call": "x", "args": [1, [2, 3]]}
    for sent, received in zip(arrays, got, strict=True):
        np.testing.assert_array_equal(sent, received, strict=True)
    assert read_message(pipe) == ({"call": "y"}, [])


def test_a_message_cut_short_is_noticed() -> None:
    pipe = io.BytesIO()
    write_message(pipe, {"call": "x"}, [np.ones(8, np.float32)])
    with pytest.raises(EOFError, match="31 of 32 bytes"):
        read_message(io.BytesIO(pipe.getvalue()[:-1]))


def test_details_become_plain_data() -> None:
    details = {"shape": np.array([1, 2], np.int32), "dtype": np.float32, "quantization": (np.float32(0.5), 0)}
    assert plain(details) == {"shape": [1, 2], "dtype": "float32", "quantization": [0.5, 0]}


def test_a_file_behind_the_pipe_gives_the_same_bytes(
    here: ArmProcess, tflite_uint8: Path, tflite_float: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite_aarch64, "start_core", lambda core, *, folder: here)
    for path in (tflite_uint8, tflite_float.path):
        runner = tflite_aarch64.open_tflite_aarch64(path, runtime="behind", core="cortex-a76", threads=1)
        host = open_runner(path, runtime="tflite", threads=1)
        assert (runner.input_hw, runner.scale, runner.native_hw) == (
            host.input_hw,
            host.scale,
            host.native_hw,
        )
        assert (runner.delegates, runner.outside) == (host.delegates, host.outside)
        image = np.random.default_rng(0).random((20, 28, 3)).astype(np.float32)
        np.testing.assert_array_equal(runner.run(image), host.run(image), strict=True)


def test_what_the_interpreter_refuses_is_refused_here(here: ArmProcess, tflite_float: Artifact) -> None:
    with pytest.raises(ValueError, match="model"):
        ArmInterpreter(here, b"no model at all, only words", threads=1)
    interpreter = ArmInterpreter(here, tflite_float.path.read_bytes(), threads=1)
    with pytest.raises((ValueError, RuntimeError)):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros((1, 2), np.uint8))


def test_a_process_that_dies_says_its_last_words() -> None:
    dying = "import sys; print('illegal instruction', file=sys.stderr); sys.exit(3)"
    with pytest.raises(InputError, match="LiteRT there ended with exit code 3: illegal instruction"):
        ArmProcess([sys.executable, "-c", dying], what="LiteRT there")


def test_a_process_that_dies_later_is_noticed(tflite_float: Artifact) -> None:
    mortal = ArmProcess([sys.executable, "-P", str(WORKER)], what="LiteRT there")
    interpreter = ArmInterpreter(mortal, tflite_float.path.read_bytes(), threads=1)
    mortal._process.kill()
    mortal._process.wait()
    with pytest.raises(InputError, match="LiteRT there ended with exit code -9"):
        interpreter.allocate_tensors()


def test_processes_end_with_their_owner() -> None:
    owner = ArmProcess([sys.executable, "-P", str(WORKER)], what="LiteRT here")
    process = owner._process
    assert process.poll() is None
    del owner
    assert process.wait(timeout=10) == 0


def test_a_core_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no core 'cortex-a1'; there are cortex-a76, cortex-a55"):
        start_core("cortex-a1", folder=tmp_path)


def test_a_core_that_cannot_be_emulated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "why_unavailable", lambda core, *, folder: "the moon is full")
    with pytest.raises(InputError, match="no cortex-a53 can be emulated here: the moon is full"):
        start_core("cortex-a53", folder=tmp_path)
