"""What one operation of a file computes and moves."""

from dataclasses import dataclass

PRECISIONS = {
    "float32": "fp32",
    "float16": "fp16",
    "int8": "int8",
    "uint8": "int8",
    "int16": "int16",
    "uint16": "int16",
}
"""Name of a peak in a profile by the element type that an operation computes on."""


@dataclass(frozen=True, kw_only=True)
class OpCost:
    """One operation at one input size.

    Attributes:
        name: the operation's result, by its name in the file.
        kind: the format's name of the operation.
        precision: what it computes in: value of `PRECISIONS`, else the element type.
        macs: multiply-accumulates of convolutions and matrix products.
        other_ops: arithmetic of everything else: one per element of the result, none where data only moves.
        weight_bytes: constants that it reads, as stored in the file.
        read_bytes: other tensors that it reads.
        write_bytes: what it writes.
    """

    name: str
    kind: str
    precision: str
    macs: int
    other_ops: int
    weight_bytes: int
    read_bytes: int
    write_bytes: int

    @property
    def operations(self) -> int:
        """Additions and multiplications: two for each multiply-accumulate."""
        return 2 * self.macs + self.other_ops

    @property
    def bytes(self) -> int:
        """All that it moves, if nothing stays in a cache."""
        return self.weight_bytes + self.read_bytes + self.write_bytes

    @property
    def intensity(self) -> float | None:
        """Operations per byte; None where nothing moves."""
        return self.operations / self.bytes if self.bytes else None


@dataclass(frozen=True, kw_only=True)
class Costs:
    """A file's operations at one input size.

    Attributes:
        artifact: name of the file.
        format: `tflite` or `coreml`.
        input_hw: (H, W) of the LR image.
        operations: in order; those on constants alone, which run once, are left out.
    """

    artifact: str
    format: str
    input_hw: tuple[int, int]
    operations: tuple[OpCost, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the file."""
        return sum(op.macs for op in self.operations)

    @property
    def bytes(self) -> int:
        """Bytes that the file's operations move, if nothing stays in a cache."""
        return sum(op.bytes for op in self.operations)
