"""Every command but `run`: what it writes and says, and what it refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
from PIL import Image

from edge_eval.mil import load_program
from edge_eval.runner import to_frame, to_image
from edge_eval.runtimes.table import RUNTIMES, open_runner

Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """An RGB file of 60x52 pixels (HxW), a little larger than the files' size."""
    random = np.random.default_rng(1)
    small = Image.fromarray(random.integers(0, 256, (15, 13, 3), dtype=np.uint8))
    path = tmp_path / "photo.png"
    small.resize((52, 60), Image.Resampling.BICUBIC).save(path)
    return path


def one_line(result: click.testing.Result) -> str:
    """What was said on stderr, which has to be one line, of a command that ended with bad input."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_inspect_shows_a_checkpoint(invoke: Invoke, network_file: Path) -> None:
    result = invoke("inspect", network_file)
    assert result.exit_code == 0
    assert "block_6.c3_r" in result.stdout and "upscale 2" in result.stdout and "form" in result.stdout


def test_inspect_json_counts_what_the_layers_count(invoke: Invoke, network_file: Path) -> None:
    document = json.loads(invoke("inspect", network_file, "--json").stdout)
    assert document["kind"] == "checkpoint"
    assert document["config"]["feature_channels"] == 8
    assert document["macs_per_lr_pixel"] == sum(layer["macs"] for layer in document["layers"])
    assert document["layers"][0]["macs"] == 3 * 8 * 9


@pytest.mark.parametrize("kind", ["tflite", "coreml"])
def test_inspect_json_shows_an_artifact(
    invoke: Invoke, kind: str, request: pytest.FixtureRequest, network_file: Path
) -> None:
    document = json.loads(invoke("inspect", request.getfixturevalue(f"{kind}_file"), "--json").stdout)
    convolutions = {"tflite": "CONV_2D", "coreml": "conv"}[kind]
    assert (document["format"], document["recipe"]) == (kind, "fp16")
    assert document["source"]["name"] == "small"
    assert document["ops"][convolutions] <= 22


def test_inspect_refuses_what_is_none_of_ours(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"nothing")
    assert "x.tflite" in one_line(invoke("inspect", tmp_path / "x.tflite"))
    assert "absent.pth" in one_line(invoke("inspect", "absent.pth"))


def test_convert_writes_the_file_and_says_so(invoke: Invoke, network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.tflite"
    arguments = (
        "convert",
        network_file,
        "--format",
        "tflite",
        "--recipe",
        "fp32",
        "--size",
        "16x12",
        "-o",
        out,
    )
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{out}: tflite fp32, ")
    assert json.loads((tmp_path / "a.tflite.json").read_text())["input"]["shape"] == [1, 16, 12, 3]
    assert "exists already; give --overwrite" in one_line(invoke(*arguments))


@pytest.mark.parametrize(
    "sizes",
    [
        ["--size", "16x16", "--size", "24x24"],
        ["--size", "16x16", "--min-size", "16x16", "--max-size", "64x64"],
    ],
)
def test_convert_makes_flexible_core_ml_files(
    invoke: Invoke, network_file: Path, tmp_path: Path, sizes: list[str]
) -> None:
    out = tmp_path / "a.mlpackage"
    result = invoke("convert", network_file, "--format", "coreml", *sizes, "--ios", 18, "-o", out)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a.mlpackage.json").read_text())["input"]["shape"] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tflite", "--ios", "17"), "--ios does not apply to --format tflite; it takes --backend, "),
        (("tflite", "--size", "8x8", "--size", "9x9"), "a TFLite file has one size, and 2 --size were given"),
        (("coreml", "--backend", "litert"), "--backend does not apply to --format coreml"),
        (("tflite", "--arithmetic", "float32"), "--arithmetic does not apply to --format tflite"),
        (("coreml", "--arithmetic", "float32"), "32-bit arithmetic is a choice for quantized networks; "),
        (("coreml", "--max-size", "8x8"), "a range needs --min-size, --max-size and one --size"),
    ],
)
def test_convert_refuses_options_of_the_other_format(
    invoke: Invoke, network_file: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = invoke("convert", network_file, "--format", *arguments, "-o", tmp_path / "x.mlpackage")
    assert message in one_line(result)


@pytest.mark.parametrize("arithmetic", ["float16", "float32"])
def test_convert_chooses_the_arithmetic_between_integers(
    invoke: Invoke, quantized_file: Path, tmp_path: Path, arithmetic: str
) -> None:
    out = tmp_path / "a.mlpackage"
    options = ("--format", "coreml", "--arithmetic", arithmetic)
    result = invoke("convert", quantized_file, *options, "-o", out)
    assert result.exit_code == 0, result.output
    convolutions = [op for op in load_program(out).operations if op.kind == "conv"]
    assert {op.results[0].type.element for op in convolutions} == {arithmetic}


def test_convert_refuses_a_converted_file(invoke: Invoke, tflite_file: Path, tmp_path: Path) -> None:
    result = invoke("convert", tflite_file, "--format", "tflite", "-o", tmp_path / "x.tflite")
    assert "is a converted file; give the checkpoint it was made from" in one_line(result)


def test_convert_refuses_a_folder_that_cannot_be_written(
    invoke: Invoke, network_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "a.tflite"
    result = invoke("convert", network_file, "--format", "tflite", "--size", "16x16", "-o", out)
    assert "cannot write" in one_line(result)


def test_eval_finds_the_checkpoint_that_a_file_names_and_writes_json(
    invoke: Invoke, tflite_file: Path, network_file: Path, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / tflite_file.name).write_bytes(tflite_file.read_bytes())
    (folder / network_file.name).write_bytes(network_file.read_bytes())
    target = tmp_path / "eval.json"
    result = invoke("eval", folder / tflite_file.name, "--data", images, "--json", target)
    assert result.exit_code == 0, result.output
    assert json.loads(target.read_text())["results"][0]["images"] == 2
    assert "large" in result.stdout and "small" in result.stdout
    again = invoke("eval", folder / tflite_file.name, "--data", images, "--json", target)
    assert "exists already; give --overwrite" in one_line(again)


def test_eval_prints_nothing_but_json_on_stdout_and_gates_afterwards(
    invoke: Invoke, tflite_file: Path, network_file: Path, images: Path
) -> None:
    arguments = (
        "eval",
        tflite_file,
        network_file,
        "--reference",
        network_file,
        "--data",
        images,
        "--json",
        "-",
    )
    result = invoke(*arguments, "--min-psnr", 99)
    results = json.loads(result.stdout)["results"]
    assert [entry["runtime"] for entry in results] == ["tflite", "torch"]
    assert results[1]["drop_db"] == 0 and results[1]["drift_psnr_y_db"] is None
    assert result.exit_code == 1
    assert result.stderr.count("less than --min-psnr 99") == 2


def test_eval_on_an_emulated_core_says_whether_the_bytes_are_this_computers(
    invoke: Invoke, tflite_file: Path, network_file: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated = replace(RUNTIMES["tflite-plain"], is_emulator=True)
    monkeypatch.setitem(RUNTIMES, "tflite-plain", emulated)
    given = ("eval", tflite_file, "--reference", network_file, "--data", images, "--json", "-")
    result = invoke(*given, "--runtime", "tflite-plain")
    assert result.exit_code == 0, result.output
    (core,) = json.loads(result.stdout)["cores"]
    assert core["artifact"] == tflite_file.name and core["runtime"] == "tflite-plain"
    assert core["max_abs_8bit"] <= 1 and core["largest"] < 1e-5 and core["explained"]
    assert f"tflite-plain beside this computer's XNNPACK: {core['why']}" in result.stderr
    assert "cores" not in json.loads(invoke(*given).stdout)


def test_eval_refuses_a_file_whose_checkpoint_is_nowhere(invoke: Invoke, tflite_file: Path) -> None:
    message = one_line(invoke("eval", tflite_file))
    assert "was made from 'small'" in message and "give --reference CHECKPOINT" in message


def test_eval_refuses_two_files_of_one_name(invoke: Invoke, tflite_file: Path, network_file: Path) -> None:
    result = invoke("eval", tflite_file, tflite_file, "--reference", network_file)
    assert "is given more than once; results go by name" in one_line(result)


def test_eval_refuses_a_runtime_that_does_not_run_such_files(
    invoke: Invoke, tflite_file: Path, network_file: Path, images: Path
) -> None:
    result = invoke("eval", tflite_file, "--reference", network_file, "--data", images, "--runtime", "mil")
    assert "runtime mil runs coreml files" in one_line(result)


def test_bench_times_the_file_and_skips_the_emulator(
    invoke: Invoke, tflite_file: Path, coreml_file: Path
) -> None:
    result = invoke("bench", tflite_file, coreml_file, "--runs", 2, "--warmup", 1, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "SKIPPED small_fp16.mlpackage" in result.stdout
    assert "not a phone's" in result.stdout


def test_upscale_in_tiles_gives_the_pixels_of_the_whole_image(
    invoke: Invoke, coreml_file: Path, network_file: Path, photo: Path, tmp_path: Path
) -> None:
    result = invoke("upscale", photo, "--model", coreml_file, "-o", tmp_path / "big")
    assert result.exit_code == 0, result.output
    upscaled = np.asarray(Image.open(tmp_path / "big" / "photo.png")).astype(int)
    whole = open_runner(network_file, threads=1).run(to_image(np.asarray(Image.open(photo))))
    assert upscaled.shape == (120, 104, 3)
    assert np.abs(upscaled - to_frame(whole)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_upscale_keeps_grey_and_alpha(
    invoke: Invoke, network_file: Path, photo: Path, tmp_path: Path, mode: str
) -> None:
    picture = Image.open(photo).convert(mode)
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    source = tmp_path / f"in-{mode}.png"
    picture.save(source)
    result = invoke("upscale", source, "--model", network_file, "-o", tmp_path / "big")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "big" / source.name) as upscaled:
        assert upscaled.mode == {"P": "RGB"}.get(mode, mode)
        assert upscaled.size == (104, 120)
        if mode in ("LA", "RGBA"):
            alpha = np.asarray(upscaled.getchannel("A")).astype(int)
            assert np.abs(alpha[::2, ::2] - np.asarray(picture.getchannel("A"))).max() <= 4


def test_upscale_says_where_an_image_is_smaller_than_the_only_size(
    invoke: Invoke, coreml_file: Path, images: Path, tmp_path: Path
) -> None:
    with Image.open(images / "small.png") as picture:
        picture.crop((0, 0, 20, 30)).save(tmp_path / "tiny.png")
    result = invoke("upscale", tmp_path / "tiny.png", "--model", coreml_file, "-o", tmp_path / "big")
    with Image.open(tmp_path / "big" / "tiny.png") as upscaled:
        assert upscaled.size == (40, 60)
    assert "smaller than the sizes that the file takes, so continued by mirroring" in result.stderr


def test_upscale_refuses_before_it_writes_anything(
    invoke: Invoke, network_file: Path, photo: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    twin = tmp_path / "photo.jpg"
    Image.open(photo).save(twin)
    arguments = ("--model", network_file, "-o", big)
    assert "would both become" in one_line(invoke("upscale", photo, twin, *arguments))
    assert "no image" in one_line(invoke("upscale", photo, tmp_path / "absent.png", *arguments))
    in_place = invoke("upscale", photo, "--model", network_file, "-o", tmp_path, "--overwrite")
    assert "would be replaced by its own result" in one_line(in_place)
    assert not big.exists()
    big.mkdir()
    (big / "photo.png").write_bytes(b"old")
    assert "exists already" in one_line(invoke("upscale", photo, *arguments))
    assert (big / "photo.png").read_bytes() == b"old"


def test_report_of_a_run_is_the_page_that_the_run_wrote(
    invoke: Invoke, finished_run: tuple[Path, Any], tmp_path: Path
) -> None:
    out = finished_run[0]
    result = invoke("report", out, "-o", tmp_path / "again.html")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again.html").read_text() == (out / "report.html").read_text()


@pytest.mark.parametrize("name", ["eval.json", "bench.json"])
def test_report_of_one_document(
    invoke: Invoke, finished_run: tuple[Path, Any], tmp_path: Path, name: str
) -> None:
    result = invoke("report", finished_run[0] / name, "-o", tmp_path / "one.html")
    assert result.exit_code == 0, result.output
    assert "small_<wbr>fp16.tflite" in (tmp_path / "one.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "as JSON"),
        ("[]", "holds no JSON object"),
        ('{"schema": 2, "results": []}', "Invalid enum value 2 - at `$.schema`"),
        ('{"schema": 1, "results": [{"psnr_y_db": 1}]}', "is neither of eval --json nor of bench --json"),
    ],
)
def test_report_refuses_documents_that_are_not_ours(
    invoke: Invoke, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    assert message in one_line(invoke("report", tmp_path / "x.json", "-o", tmp_path / "x.html"))


def test_report_refuses_a_folder_without_a_run(invoke: Invoke, tmp_path: Path) -> None:
    assert "has no run.json" in one_line(invoke("report", tmp_path, "-o", tmp_path / "x.html"))
    assert "no absent; give a folder" in one_line(invoke("report", "absent", "-o", tmp_path / "x.html"))


@pytest.fixture(scope="module")
def program() -> list[str]:
    """The command as a process of its own."""
    return [sys.executable, "-c", "from edge_eval.cli import main; main()"]


def test_help_needs_no_heavy_library(program: list[str]) -> None:
    code = (
        "import sys\nfrom edge_eval.cli import span_edge\n"
        "try: span_edge.main(['run', '--help'], prog_name='span-edge')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'tensorflow', 'coremltools', 'litert_torch', 'matplotlib', 'skimage', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_version_and_help_of_every_command(invoke: Invoke) -> None:
    assert invoke("--version").stdout.startswith("span-edge, version ")
    commands = ["run", "inspect", "convert", "eval", "bench", "upscale", "report"]
    assert "Exit codes:" in invoke("--help").stdout
    for command in commands:
        result = invoke(command, "--help")
        assert result.exit_code == 0
        assert "Examples:" in result.stdout, command


def test_tools_are_silent_and_json_alone_is_on_stdout(program: list[str], tflite_file: Path) -> None:
    command = [*program, "bench", str(tflite_file), "--runs", "1", "--threads", "1", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"][0]["artifact"] == tflite_file.name
    assert done.stderr.splitlines() == [
        line for line in done.stderr.splitlines() if line.startswith("bench: ")
    ]


NOISY = """
import os, sys, warnings
from edge_eval.cli import program, terminal
import click
@click.command()
def noisy():
    with terminal.terminal() as screen:
        os.write(1, b"native out\\n"); os.write(2, b"native err\\n")
        print("python out"); warnings.warn("python warning")
        screen.out.print("result"); screen.say("remark")
        if "--bug" in sys.argv: raise RuntimeError("a bug")
program.span_edge.add_command(noisy)
program.span_edge.main(["noisy"])
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_what_tools_print_is_shown_on_request_only(verbose: bool) -> None:
    environment = {**os.environ, "SPAN_EDGE_VERBOSE": "1" if verbose else ""}
    command = [sys.executable, "-c", NOISY]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert ("result" in done.stdout, "remark" in done.stderr) == (True, True)
    assert ("native out" in done.stdout, "native err" in done.stderr) == (verbose, verbose)
    assert ("python out" in done.stdout, "python warning" in done.stderr) == (verbose, verbose)


def test_a_bug_shows_its_traceback_and_what_the_tools_said_before() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY, "--bug"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RuntimeError: a bug" in done.stderr
    assert "  native err" in done.stderr.split("what the tools printed last:")[1]


def test_a_closed_pipe_is_quiet(program: list[str], network_file: Path) -> None:
    script = f"{' '.join(map(repr, program))} inspect {network_file} --json | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_full_standard_output_is_one_line(program: list[str], network_file: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    command = [*program, "inspect", str(network_file), "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"
