"""What the user names on the command line, as loaded networks and read artifacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convert.formats import FORMATS, read_artifact
from models.bundled import located
from models.errors import InputError
from models.progress import Progress, silent

from ..quantized_file import QuantizedCheckpoint, is_quantized, load_quantized_checkpoint

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
    """The checkpoint called `name` (a file, or a bundled one's name), and its folded network.

    Raises:
        InputError: there is none, or it cannot be used.
    """
    path = located(name)
    if is_artifact(path):
        raise InputError(f"{path} is a converted file; give the checkpoint it was made from")
    if is_quantized(path):
        raise InputError(f"{path} is a quantized checkpoint; give the float checkpoint it was made from")
    progress("load and fold", 0, 2, path.name)
    from models import load_checkpoint, reparameterize

    checkpoint = load_checkpoint(path, img_range=img_range, rgb_mean=rgb_mean)
    progress("load and fold", 1, 2, checkpoint.form)
    loaded = Loaded(checkpoint=checkpoint, network=reparameterize(checkpoint.network))
    progress("load and fold", 2, 2, path.name)
    return loaded


def load_either(
    path: Path,
    *,
    img_range: float | None = None,
    rgb_mean: tuple[float, ...] | None = None,
    progress: Progress = silent,
) -> "Loaded | QuantizedCheckpoint":
    """The float or quantized checkpoint at `path`, whichever it is.

    Raises:
        InputError: there is none, or it cannot be used, or it is quantized and an option for float ones is
            given.
    """
    if not is_quantized(path):
        return load_network(path, img_range=img_range, rgb_mean=rgb_mean, progress=progress)
    if img_range is not None or rgb_mean is not None:
        raise InputError(
            f"{path} is a quantized checkpoint, with its normalization inside; "
            "leave --img-range and --rgb-mean out"
        )
    return load_quantized_checkpoint(path)


def load_float_and_quantized(
    path: Path,
    reference: Path | None,
    *,
    img_range: float | None = None,
    rgb_mean: tuple[float, ...] | None = None,
    progress: Progress = silent,
) -> "tuple[Loaded, QuantizedCheckpoint | None]":
    """The float network of the checkpoint at `path`, and the quantized one if it holds that.

    Args:
        path: a float or a quantized checkpoint.
        reference: the float network of a quantized one; None to look for what it names.
        img_range: of the float network.
        rgb_mean: likewise.
        progress: told of loading.

    Raises:
        InputError: a checkpoint cannot be used, is not found, or a float one was given a reference, or a
            quantized one that of another network.
    """
    if not is_quantized(path):
        if reference is not None:
            raise InputError(f"{path} is a float checkpoint, its own reference; leave --reference out")
        return load_network(path, img_range=img_range, rgb_mean=rgb_mean, progress=progress), None
    quantized = load_quantized_checkpoint(path)
    found = reference or source_near(path, quantized.source)
    loaded = load_network(found, img_range=img_range, rgb_mean=rgb_mean, progress=progress)
    if unlike := loaded.checkpoint.config.unlike(quantized.quantized.config):
        raise InputError(
            f"{found} is not the network that {path} was quantized from ({unlike}); "
            "give that one with --reference, read as it was then (--img-range, --rgb-mean)"
        )
    return loaded, quantized


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
    made_from = {model: _source_of(model) for model in models if is_artifact(model) or is_quantized(model)}
    if not made_from:
        return models[0]
    sources = {source.sha256 for source in made_from.values()}
    if len(sources) != 1:
        raise InputError(
            f"the artifacts come from {len(sources)} different checkpoints; evaluate those of one at a time, "
            "or name the network to compare with: --reference CHECKPOINT"
        )
    return source_near(*next(iter(made_from.items())))


def source_near(model: Path, source: "Source") -> Path:
    """The float checkpoint that `model` was made from.

    It is looked for beside it, one folder up, in the current folder, and among the bundled ones.

    Raises:
        InputError: there is no file of its name and hash there.
    """
    from models.files import sha256_of

    folder = model.resolve().parent
    folders = (folder, folder.parent, Path())
    near = [place / f"{source.name}{suffix}" for place in folders for suffix in CHECKPOINT_SUFFIXES]
    for path in (*near, located(source.name)):
        if path.is_file() and sha256_of(path) == source.sha256:
            return path
    raise InputError(
        f"{model.name} was made from {source.name!r} (sha256 {source.sha256[:12]}...), which is "
        "neither beside it, nor one folder up, nor in the current folder; give --reference CHECKPOINT"
    )


def _source_of(model: Path) -> "Source":
    return read_artifact(model).info.source if is_artifact(model) else load_quantized_checkpoint(model).source


@dataclass(frozen=True, kw_only=True)
class Named:
    """A model named on the command line: what runs, and what describes it."""

    described: "Artifact | Checkpoint | QuantizedCheckpoint"
    runnable: "Artifact | SpanDeploy | QuantizedCheckpoint"


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
            continue
        loaded = reference if model == reference.checkpoint.path else load_either(model)
        if isinstance(loaded, Loaded):
            opened.append(Named(described=loaded.checkpoint, runnable=loaded.network))
        else:
            opened.append(Named(described=loaded, runnable=loaded))
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
    from ..runtimes.table import open_runner

    if is_artifact(model):
        artifact = read_artifact(model)
        runner = open_runner(artifact, runtime=runtime, threads=threads)
        return _opened(runner, bare_network(artifact.info.config))
    loaded = load_either(model, img_range=img_range, rgb_mean=rgb_mean)
    if isinstance(loaded, Loaded):
        return _opened(open_runner(loaded.network, runtime=runtime, threads=threads), loaded.network)
    runner = open_runner(loaded, runtime=runtime, threads=threads)
    return _opened(runner, bare_network(loaded.quantized.config))


def _opened(runner: "Runner", network: "SpanDeploy") -> Opened:
    return Opened(runner=runner, channels=channels_of(network.config), radius=network.receptive_radius)


def bare_network(config: "SpanConfig") -> "SpanDeploy":
    """A folded network that has shapes but no weights."""
    import torch

    from models.deploy import SpanDeploy

    with torch.device("meta"):
        return SpanDeploy(config)
