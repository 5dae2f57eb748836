"""The bundled checkpoints: found by name, described by their files, and cards that say what those hold."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.utils.flop_counter import FlopCounterMode

from models import InputError, Span, load_checkpoint, reparameterize
from models.bundled import DEFAULT, bundled_names, bundled_path, card_text, describe, located

MOST_BYTES = 3_000_000
"""A bundled checkpoint of 28 channels; wider ones may have up to 10 MB."""

NAMES = bundled_names()


def test_the_x4_one_is_used_where_none_is_named() -> None:
    assert DEFAULT in NAMES and load_checkpoint(DEFAULT).config.upscale == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stands_for_a_file_in_training_form(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = load_checkpoint(name)
    assert (checkpoint.name, checkpoint.form, checkpoint.notes) == (name, "training", ())
    assert isinstance(checkpoint.network, Span)
    assert checkpoint.path == bundled_path(name) and checkpoint.path.stat().st_size <= MOST_BYTES
    assert checkpoint.metadata["ended"] == "finished"


def test_a_file_of_that_name_is_taken_first_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT).write_bytes(bundled_path(NAMES[0]).read_bytes())
    checkpoint = load_checkpoint(DEFAULT)
    assert (
        checkpoint.sha256 == load_checkpoint(NAMES[0]).sha256 != load_checkpoint(bundled_path(DEFAULT)).sha256
    )
    assert checkpoint.notes == (
        f"the file {DEFAULT} is used; the checkpoint of that name that comes with span-edge would be used if "
        "it were not there",
    )


def test_a_folder_of_that_name_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(DEFAULT).mkdir()
    assert load_checkpoint(DEFAULT).path == bundled_path(DEFAULT)


def test_other_paths_stay_what_they_are() -> None:
    for path in ("absent", f"folder/{DEFAULT}", f"{DEFAULT}.safetensors", f"./folder/../{DEFAULT}"):
        assert located(path) == Path(path)


def test_unknown_names_are_told_all_names() -> None:
    listed = ", ".join(NAMES)
    with pytest.raises(
        InputError, match=rf"there is no file span_x5, and no checkpoint of .* one of {listed}$"
    ):
        load_checkpoint("span_x5")
    with pytest.raises(
        InputError, match=f"no checkpoint 'span_x5' comes with span-edge; give one of {listed}$"
    ):
        bundled_path("span_x5")


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_what_its_checkpoint_makes_of_it(name: str) -> None:
    card = bundled_path(name).with_suffix(".md").read_text(encoding="utf-8")
    assert card == card_text(describe(name)), f"span-edge models {name} > models/bundled/{name}.md"


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_says_the_same(name: str) -> None:
    checkpoint = describe(name)
    figures = [f"{checkpoint.measured.psnr_y_db[dataset]:.2f}" for dataset in ("Set5", "Set14", "B100")]
    cells = (
        f"[`{name}`](models/bundled/{name}.md)",
        f"x{checkpoint.config.upscale}",
        f"{checkpoint.config.feature_channels}",
        f"{checkpoint.parameters:,}",
        f"{checkpoint.macs_per_output_pixel:,.0f}",
        *figures,
    )
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(cells)} |\n" in readme


@pytest.mark.parametrize("name", NAMES)
def test_the_card_agrees_with_the_file(name: str) -> None:
    """Figures counted here in another way than the card's."""
    path = bundled_path(name)
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    network = reparameterize(load_checkpoint(path).network)
    with safe_open(path, framework="pt") as file:
        trained = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
        told = file.metadata()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        scale = network(torch.zeros(1, 3, 8, 8)).shape[-1] // 8
    macs = counter.get_total_flops() / 2 / 8**2
    assert hashlib.sha256(path.read_bytes()).hexdigest() in card
    for row in (
        f"| parameters, folded | {sum(p.numel() for p in network.parameters()):,} |",
        f"| parameters, training form | {trained:,} |",
        f"| MACs per output pixel | {macs / scale**2:,.0f} |",
        f"| seed | {told['seed']} |",
        f"| steps | {told['steps']} |",
        f"    {told['command']}\n",
    ):
        assert row in card


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_is_said_plainly(name: str) -> None:
    checkpoint = describe(name)
    assert (checkpoint.training["teacher"] != "none") == bool(checkpoint.measured.teacher)
    if checkpoint.measured.teacher:
        assert "by distillation" in card_text(checkpoint)
        assert f"`{checkpoint.training['teacher']}`" in card_text(checkpoint)


@pytest.mark.parametrize("name", NAMES)
def test_everything_can_be_said_as_json(name: str) -> None:
    checkpoint = describe(name)
    document = json.loads(json.dumps(checkpoint.to_json(), allow_nan=False))
    assert document["name"] == name and document["scale"] == checkpoint.config.upscale
    assert set(document["psnr_y_db"]) == set(document["ssim_y"]) == {"Set5", "Set14", "B100"}
    assert {
        "channels",
        "parameters",
        "macs_per_output_pixel",
        "sha256",
        "training",
        "limits",
        "licence",
    } <= set(document)
