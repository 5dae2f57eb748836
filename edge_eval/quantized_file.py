"""Quantized checkpoints as files: told from float ones by what they hold, and read."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convert.artifact import Source
from models.files import sha256_of

if TYPE_CHECKING:
    from quantize.quantized import QuantizedSpan


@dataclass(frozen=True, kw_only=True)
class QuantizedCheckpoint:
    """A quantized checkpoint that was read."""

    path: Path
    sha256: str
    quantized: "QuantizedSpan"

    @property
    def source(self) -> Source:
        """The float checkpoint it was made from, for files made of it; itself where that is unknown."""
        made_of = self.quantized.provenance
        return Source(
            name=made_of.source_name or self.path.stem,
            sha256=made_of.source_sha256 or self.sha256,
            method=self.quantized.method,
        )

    @property
    def ops(self) -> dict[str, int]:
        """How often each operation stands in its graph, most frequent first."""
        return dict(Counter(node.op for node in self.quantized.network.nodes).most_common())


def is_quantized(path: Path) -> bool:
    """Whether a file is a quantized checkpoint, by its metadata; whatever cannot be read is none."""
    from safetensors import SafetensorError, safe_open

    from quantize.quantized import FILE_KIND

    try:
        with path.open("rb") as stream:
            if stream.read(9)[8:] != b"{":
                return False
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("kind") == FILE_KIND
    except (OSError, SafetensorError):
        return False


def load_quantized_checkpoint(path: Path) -> QuantizedCheckpoint:
    """The quantized checkpoint at `path`.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    from quantize.quantized import load_quantized

    return QuantizedCheckpoint(path=path, sha256=sha256_of(path), quantized=load_quantized(path))
