"""JSON data as dataclasses, every value held against the annotation of its field."""

import json
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

Record = TypeVar("Record")

SHOWN = 40
"""Characters of a wrong value that are shown."""
SCALARS: Mapping[object, tuple[tuple[type, ...], str]] = {
    str: ((str,), "text"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    NoneType: ((NoneType,), "null"),
}
"""For an annotation, what the JSON value may be and what that is called. A bool counts as no number."""


class ShapeError(ValueError):
    """A document does not have the shape that it should; the message says where, and what is there."""


def record_of(kind: type[Record], data: Any, at: str = "") -> Record:
    """A dataclass from JSON data; lists become tuples, unknown keys are left out.

    Args:
        kind: the dataclass. Its fields may be text, numbers, null, `Literal`, `Mapping[str, ...]`, tuples,
            `TypedDict`, other such dataclasses, unions of these, and `Any`.
        data: what `json` read.
        at: where in the document it stands, as `results[0]`; nothing for the whole.

    Raises:
        ShapeError: a key without a default is missing, or a value is of another type.
    """
    known = fields(kind)  # type: ignore[arg-type]
    hints = _hints(kind)  # type: ignore[arg-type]
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    return kind(**_entries({f.name: hints[f.name] for f in known}, needed, data, at))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _entries(hints: Mapping[str, Any], needed: AbstractSet[str], data: Any, at: str) -> dict[str, Any]:
    """The values of the keys that are known."""
    if not isinstance(data, Mapping):
        raise _wrong(at, data, "an object")
    missing = sorted(needed - set(data))
    if missing:
        raise ShapeError(f"{at or 'it'} has no {', '.join(missing)}")
    return {
        key: _value(hint, data[key], f"{at}.{key}" if at else key)
        for key, hint in hints.items()
        if key in data
    }


def _value(hint: Any, value: Any, at: str) -> Any:
    """The value as its annotation has it."""
    if hint is Any:
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return record_of(hint, value, at)
    if is_typeddict(hint):
        known = _entries(_hints(hint), hint.__required_keys__, value, at)
        return {**value, **known}
    if hint in SCALARS:
        accepted, words = SCALARS[hint]
        if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
            raise _wrong(at, value, words)
        return value
    return _GENERIC[get_origin(hint)](hint, value, at)


def _literal(hint: Any, value: Any, at: str) -> Any:
    for one in get_args(hint):
        if type(one) is type(value) and one == value:
            return value
    raise _wrong(at, value, _words(hint))


def _union(hint: Any, value: Any, at: str) -> Any:
    """By the one kind there is beside null, which knows best what is wrong; else by the first that fits."""
    kinds = get_args(hint)
    if value is None and NoneType in kinds:
        return None
    others = [kind for kind in kinds if kind is not NoneType]
    for kind in others:
        try:
            return _value(kind, value, at)
        except ShapeError:
            if len(others) == 1 and isinstance(value, (Mapping, list, tuple)):
                raise
    raise _wrong(at, value, _words(hint))


def _mapping(hint: Any, value: Any, at: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(at, value, _words(hint))
    kind = get_args(hint)[1]
    return {key: _value(kind, inner, f"{at}.{key}") for key, inner in value.items()}


def _tuple(hint: Any, value: Any, at: str) -> Any:
    kinds = get_args(hint)
    if not isinstance(value, (list, tuple)):
        raise _wrong(at, value, _words(hint))
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(value) != len(kinds):
        raise _wrong(at, value, _words(hint))
    inner = zip(kinds, value, strict=True)
    return tuple(_value(kind, one, f"{at}[{index}]") for index, (kind, one) in enumerate(inner))


_GENERIC: Mapping[Any, Callable[[Any, Any, str], Any]] = {
    Literal: _literal,
    Union: _union,
    UnionType: _union,
    Mapping: _mapping,
    dict: _mapping,
    tuple: _tuple,
}


def _words(hint: Any) -> str:
    """What an annotation accepts."""
    if hint in SCALARS:
        return SCALARS[hint][1]
    origin, kinds = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(json.dumps(one) for one in kinds)
    if origin in (Union, UnionType):
        return " or ".join(_words(kind) for kind in kinds)
    if origin is tuple:
        return "a list" if kinds[1:] == (...,) else f"a list of {len(kinds)}"
    return "an object"


def _wrong(at: str, value: Any, words: str) -> ShapeError:
    shown = json.dumps(value, default=repr)
    shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
    return ShapeError(f"{at or 'it'} is {shown}, not {words}")
