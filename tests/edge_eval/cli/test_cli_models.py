"""`span-edge models`, and names of bundled checkpoints in place of files."""

import json
from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from convert.artifact import Source
from edge_eval.cli.options import CheckpointPath
from edge_eval.cli.program import COMMANDS
from edge_eval.cli.sources import source_near
from edge_eval.runtimes.table import open_runner
from models import InputError
from models.bundled import DEFAULT, bundled_names, bundled_path, describe

Invoke = Callable[..., click.testing.Result]

NOT_CHECKPOINTS = {("estimate", "models")}
"""Arguments of these names that take converted files alone."""


def test_the_list_names_all_with_their_costs_and_figures(invoke: Invoke) -> None:
    result = invoke("models")
    assert result.exit_code == 0, result.output
    _, *lines = result.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines[: len(bundled_names())]}
    for name in bundled_names():
        checkpoint = describe(name)
        figures = [f"{value:.2f}" for value in checkpoint.measured.psnr_y_db.values()]
        assert rows[name][1:] == [
            f"x{checkpoint.config.upscale}",
            f"{checkpoint.config.feature_channels}",
            f"{checkpoint.parameters:,}",
            f"{checkpoint.macs_per_output_pixel:,.0f}",
            *figures,
        ]
    assert f"{DEFAULT} is what span-edge run takes where no checkpoint is given" in result.stdout


def test_the_list_for_programs(invoke: Invoke) -> None:
    document = json.loads(invoke("models", "--json").stdout)
    assert document["schema"] == 1
    assert [entry["name"] for entry in document["models"]] == list(bundled_names())
    (one,) = json.loads(invoke("models", DEFAULT, "--json").stdout)["models"]
    assert one == json.loads(json.dumps(describe(DEFAULT).to_json()))


def test_one_is_shown_by_its_card(invoke: Invoke) -> None:
    assert invoke("models", DEFAULT).stdout == bundled_path(DEFAULT).with_suffix(".md").read_text("utf-8")


def test_unknown_names_end_in_one_line_with_all_names(invoke: Invoke) -> None:
    for arguments in (("models", "span_x9"), ("inspect", "span_x9"), ("run", "span_x9")):
        result = invoke(*arguments)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
        assert "span_x9" in result.stderr and ", ".join(bundled_names()) in result.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_takes_names_where_it_takes_checkpoints(command: click.Command) -> None:
    for parameter in command.params:
        named = parameter.name in {"checkpoint", "reference", "teacher", "model", "models"}
        if named and (command.name, parameter.name) not in NOT_CHECKPOINTS:
            assert isinstance(parameter.type, CheckpointPath), f"{command.name} {parameter.name}"


def test_names_work_in_commands(invoke: Invoke, images: Path, tmp_path: Path) -> None:
    inspected = json.loads(invoke("inspect", DEFAULT, "--json").stdout)
    assert inspected["sha256"] == describe(DEFAULT).sha256 and inspected["form"] == "training"
    upscaled = invoke("upscale", images / "small.png", "--model", DEFAULT, "-o", tmp_path / "big")
    assert upscaled.exit_code == 0, upscaled.output
    evaluated = invoke("eval", DEFAULT, "--data", images, "--json", "-")
    (result,) = json.loads(evaluated.stdout)["results"]
    assert (result["artifact"], result["drop_db"]) == (bundled_path(DEFAULT).name, 0)
    assert open_runner(DEFAULT, threads=1).scale == 4


def test_a_file_of_the_name_is_taken_first_and_said(
    invoke: Invoke, network_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT).write_bytes(network_file.read_bytes())
    document = json.loads(invoke("inspect", DEFAULT, "--json").stdout)
    assert document["config"]["upscale"] == 2
    assert document["notes"][0].startswith(
        f"the file {DEFAULT} is used; the checkpoint of that name that comes"
    )


def test_files_made_of_a_bundled_checkpoint_find_it(tmp_path: Path) -> None:
    made_of = Source(name=DEFAULT, sha256=describe(DEFAULT).sha256)
    assert source_near(tmp_path / "a.tflite", made_of) == bundled_path(DEFAULT)
    with pytest.raises(InputError, match=rf"was made from '{DEFAULT}' \(sha256 000000000000"):
        source_near(tmp_path / "a.tflite", Source(name=DEFAULT, sha256="0" * 64))
