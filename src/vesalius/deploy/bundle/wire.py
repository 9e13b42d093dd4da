"""What an ONNX file refers to, found in its protocol buffer without the package `onnx`.

A graph may name files that hold its tensors ("external data"), and operators of other domains. A bundle's graph has
neither: the tensors of a stranger's graph must not be read from anywhere, and only ONNX's own operators are run.
"""

from collections.abc import Iterator

# Of onnx.proto: for each message, the fields that hold messages to search, and of which kind these are.
_INNER: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_DOMAIN = {"node": 7, "function": 10}
_OWN_DOMAINS = ("", "ai.onnx")
_MAX_DEPTH = 40


def graph_problems(model: bytes) -> list[str]:
    """Why a graph is not run; empty for one that is.

    Args:
        model: content of an ONNX file.
    """
    try:
        return sorted(set(_problems(memoryview(model), "model", 0)))
    except (IndexError, ValueError):
        return ["it is no ONNX graph"]


def _problems(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    inner = _INNER[kind]
    for number, value in _fields(message):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1)):
            yield "it keeps tensors in other files"
        elif number == _DOMAIN.get(kind) and isinstance(value, memoryview):
            domain = bytes(value).decode("utf-8", "replace")
            if domain not in _OWN_DOMAINS:
                yield f"it has operators of the domain {domain[:60]!r}"
        elif number in inner and isinstance(value, memoryview):
            yield from _problems(value, inner[number], depth + 1)


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of the fields of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(message, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
