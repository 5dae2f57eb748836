"""What the user names on the command line, as loaded networks and read artifacts."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convert.formats import FORMATS, read_artifact
from models.errors import InputError
from models.progress import Progress, silent

if TYPE_CHECKING:
    from convert.artifact import Artifact, Source
    from models.checkpoint import Checkpoint
    from models.config import SpanConfig
    from models.deploy import SpanDeploy

    from ..frames import Channels
    from ..runner import Runner

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A checkpoint and its folded network."""

    checkpoint: "Checkpoint"
    network: "SpanDeploy"

    @property
    def source(self) -> "Source":
        """The checkpoint as files made from it name it."""
        from convert.artifact import Source

        return Source(name=self.checkpoint.name, sha256=self.checkpoint.sha256)


def load_network(
    name: str | Path,
    *,
    img_range: float | None = None,
    rgb_mean: tuple[float, ...] | None = None,
    progress: Progress = silent,
) -> Loaded:
    """The checkpoint called `name`, and its folded network.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = Path(name)
    if is_artifact(path):
        raise InputError(f"{path} is a converted file; give the checkpoint it was made from")
    progress("load and fold", 0, 2, path.name)
    from models import load_checkpoint, reparameterize

    checkpoint = load_checkpoint(name, img_range=img_range, rgb_mean=rgb_mean)
    progress("load and fold", 1, 2, checkpoint.form)
    loaded = Loaded(checkpoint=checkpoint, network=reparameterize(checkpoint.network))
    progress("load and fold", 2, 2, path.name)
    return loaded


def is_artifact(path: Path) -> bool:
    """Whether the name is that of a converted file."""
    return any(path.suffix == row.suffix for row in FORMATS.values())


def channels_of(config: "SpanConfig") -> "Channels":
    """The channels of the images that a network takes.

    Raises:
        InputError: they are not those of an image.
    """
    channels = config.in_channels
    if channels not in (1, 3) or config.out_channels != channels:
        raise InputError(
            f"the network takes {channels} channels and gives {config.out_channels}; "
            "networks on images (1 or 3 in, the same out) can be run"
        )
    return 1 if channels == 1 else 3


def find_reference(models: Sequence[Path], given: Path | None) -> Path:
    """The checkpoint to hold models against: `given`, the one that artifacts name, or the first checkpoint.

    Raises:
        InputError: it is not found near the artifacts, or they were made from different ones.
    """
    if given is not None:
        return given
    artifacts = [read_artifact(model) for model in models if is_artifact(model)]
    if not artifacts:
        return models[0]
    sources = {artifact.info.source.sha256: artifact for artifact in artifacts}
    if len(sources) != 1:
        raise InputError(
            f"the artifacts come from {len(sources)} different checkpoints; evaluate those of one at a time, "
            "or name the network to compare with: --reference CHECKPOINT"
        )
    artifact = artifacts[0]
    found = _checkpoint_near(artifact)
    if found is None:
        source = artifact.info.source
        raise InputError(
            f"{artifact.path.name} was made from {source.name!r} (sha256 {source.sha256[:12]}...), which is "
            "neither beside it, nor one folder up, nor in the current folder; give --reference CHECKPOINT"
        )
    return found


def _checkpoint_near(artifact: "Artifact") -> Path | None:
    """A file of the right name and hash beside the artifact, one folder up, or in the current folder."""
    from models.files import sha256_of

    folder = artifact.path.resolve().parent
    for place in (folder, folder.parent, Path()):
        for suffix in CHECKPOINT_SUFFIXES:
            path = place / f"{artifact.info.source.name}{suffix}"
            if path.is_file() and sha256_of(path) == artifact.info.source.sha256:
                return path
    return None


@dataclass(frozen=True, kw_only=True)
class Named:
    """A model named on the command line: what runs, and what describes it."""

    described: "Artifact | Checkpoint"
    runnable: "Artifact | SpanDeploy"


def open_models(models: Sequence[Path], reference: Loaded) -> list[Named]:
    """The models at `models`, the reference itself loaded once only.

    Raises:
        InputError: one of them cannot be used, or two have the same name.
    """
    refuse_same_names(models)
    opened = []
    for model in models:
        if is_artifact(model):
            artifact = read_artifact(model)
            opened.append(Named(described=artifact, runnable=artifact))
        else:
            loaded = reference if model == reference.checkpoint.path else load_network(model)
            opened.append(Named(described=loaded.checkpoint, runnable=loaded.network))
    return opened


def refuse_same_names(models: Sequence[Path]) -> None:
    """Refuse two files of one name: results go by name.

    Raises:
        InputError: naming them.
    """
    names = [model.name for model in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"{', '.join(twice)} is given more than once; results go by name, so rename one")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model ready to run, and what tiling needs to know of it."""

    runner: "Runner"
    channels: "Channels"
    radius: int


def open_model(
    model: Path,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    img_range: float | None = None,
    rgb_mean: tuple[float, ...] | None = None,
) -> Opened:
    """A converted file or a checkpoint, ready to run.

    Raises:
        InputError: it cannot be used, or not on that runtime.
    """
    from models.deploy import SpanDeploy

    from ..runtimes.table import open_runner

    if is_artifact(model):
        artifact = read_artifact(model)
        with _no_weights():
            network = SpanDeploy(artifact.info.config)
        runner = open_runner(artifact, runtime=runtime, threads=threads)
    else:
        network = load_network(model, img_range=img_range, rgb_mean=rgb_mean).network
        runner = open_runner(network, runtime=runtime, threads=threads)
    return Opened(runner=runner, channels=channels_of(network.config), radius=network.receptive_radius)


def _no_weights() -> AbstractContextManager[object]:
    """Networks made inside have shapes but no weights."""
    import torch

    return torch.device("meta")
