"""The TFLite file format: packing and unpacking, and what can be asked of a file without running it."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as SCHEMA
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from models.errors import InputError

from .quiet import quiet

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
OP_NAMES: dict[int, str] = {
    code: name for name, code in vars(SCHEMA.BuiltinOperator).items() if name.isupper()
}
TYPE_NAMES: dict[int, str] = {
    code: name.lower() for name, code in vars(SCHEMA.TensorType).items() if name.isupper()
}
TYPE_CODES: dict[str, int] = {name: code for code, name in TYPE_NAMES.items()}
NUMPY_TYPES: dict[str, type[np.generic]] = {
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
}


class AlignedBuffer(SCHEMA.BufferT):  # type: ignore[misc]
    """A buffer whose data starts at a multiple of 16 bytes: the schema demands it, its Python ignores it."""

    def __init__(self, values: NDArray[Any] | None = None) -> None:
        super().__init__()
        self.data = (
            None if values is None else np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        )

    @classmethod
    def of(cls, buffer: Any) -> "AlignedBuffer":
        """The same data, aligned when it is packed."""
        empty = buffer.data is None or len(buffer.data) == 0
        return cls(None if empty else np.frombuffer(bytes(buffer.data), np.uint8))

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's name
        """Write the table and its aligned data; the offset that flatbuffers wants back."""
        data = None
        if self.data is not None:
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data.tobytes()
            data = builder.EndVector()
        SCHEMA.BufferStart(builder)
        if data is not None:
            SCHEMA.BufferAddData(builder, data)
        return SCHEMA.BufferEnd(builder)


def unpack(data: bytes) -> Any:
    """The model as the schema's mutable `ModelT`."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def pack(model: Any) -> bytes:
    """The bytes of a `ModelT`."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def open_model(path: Path) -> Any:
    """The file's root table, read in place, after LiteRT's own verifier found the file whole.

    Raises:
        InputError: there is no such file, or it is not a whole TFLite file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a .tflite file made by span-edge convert")
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise InputError(
            f"{path} is not a TFLite file (no {IDENTIFIER.decode()} at byte 4); give one that is"
        )
    fault = _fault(data)
    if fault is not None and "Flatbuffer" in fault:
        raise InputError(f"{path} is damaged or cut short ({len(data)} bytes); convert it again")
    if fault is not None:
        raise InputError(f"{path} does not run on the installed ai-edge-litert: {fault}; install a newer one")
    return SCHEMA.Model.GetRootAs(data, 0)


def _fault(data: bytes) -> str | None:
    """Why LiteRT does not take the bytes as a model, on one line; None if it does."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with quiet():
        try:
            Interpreter(
                model_content=data,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        except (ValueError, RuntimeError) as error:
            return str(error).partition("\n")[0]
    return None


def metadata_text(path: Path, key: str) -> str | None:
    """The text of the file's metadata entry under `key`, or None where it has none.

    Raises:
        InputError: see `open_model`, or the entry is not UTF-8 text.
    """
    model = open_model(path)
    for i in range(model.MetadataLength()):
        entry = model.Metadata(i)
        if entry.Name() == key.encode():
            try:
                return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
            except (UnicodeDecodeError, TypeError) as error:
                raise InputError(f"{path}: its {key} metadata is damaged; convert it again") from error
    return None


def tflite_ops(path: Path) -> dict[str, int]:
    """How often each operation stands in a TFLite file, by TFLite's name, most frequent first.

    Raises:
        InputError: see `open_model`.
    """
    model = open_model(path)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    names = [OP_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    graph = model.Subgraphs(0)
    used = Counter(names[graph.Operators(i).OpcodeIndex()] for i in range(graph.OperatorsLength()))
    return dict(used.most_common())


def tflite_dtypes(path: Path) -> dict[str, int]:
    """How many tensors of each type a TFLite file has, constants included, most frequent first.

    Raises:
        InputError: see `open_model`.
    """
    graph = open_model(path).Subgraphs(0)
    types = (TYPE_NAMES[graph.Tensors(i).Type()] for i in range(graph.TensorsLength()))
    return dict(Counter(types).most_common())
