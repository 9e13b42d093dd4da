"""Plain content of JSON and YAML files that may be someone else's: bounded in bytes, depth and number of parts.

A file of a few bytes can stand for content without end: YAML repeats by references, JSON nests until the stack is full.
"""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES, MOST_YAML_BYTES = 2**25, 2**20  # a YAML file takes seconds per MiB
_MOST_PARTS, _MOST_DEPTH = 500_000, 60


def read_text(path: Path, most: int = MOST_BYTES) -> str:
    """The text of a file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: where it cannot be opened.
        ValueError: for a file that is larger, is no UTF-8, or is a pipe or the like, which may never end.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most >> 20} MiB")
    return content.decode("utf-8")


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        OSError: where it cannot be opened.
        ValueError: for anything but JSON of a reasonable size and depth.
    """
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """Content of a JSON text.

    Raises:
        ValueError: for anything but JSON of a reasonable depth.
    """
    try:
        return checked(json.loads(text))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_yaml(path: Path) -> Any:
    """Content of a YAML file without tags of its own.

    Raises:
        OSError: where it cannot be opened.
        ValueError, yaml.YAMLError: for anything but plain containers of a reasonable size and depth.
    """
    try:
        return checked(yaml.load(read_text(path, MOST_YAML_BYTES), _Loader))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def checked(node: Any) -> Any:
    """A node of containers as it is.

    Raises:
        ValueError: for one with too many parts or levels, and for one with anything but mappings, lists, text, numbers,
            true, false and null.
    """
    for value in leaves_of(node):
        if value is not None and not isinstance(value, str | int | float):
            raise ValueError(f"it holds a {type(value).__name__}, which no file of Vesalius does")
    return node


def leaves_of(node: Any, lists: tuple[type[Collection[Any]], ...] = (list, tuple)) -> Iterator[Any]:
    """All that a node of mappings and lists holds, keys included, without these containers themselves.

    Args:
        node: anything.
        lists: types that count as lists.

    Raises:
        ValueError: for too many parts or levels, counted as if nothing in it were shared.
    """
    stack, left = [(node, 0)], _MOST_PARTS
    while stack:
        value, depth = stack.pop()
        if isinstance(value, dict):
            inner = [*value, *value.values()]
        elif isinstance(value, lists):
            inner = list(value)
        else:
            yield value
            continue
        left -= len(inner)
        if left < 0 or depth > _MOST_DEPTH:
            raise ValueError("it has more parts, or more levels, than any file of Vesalius")
        stack += [(one, depth + 1) for one in inner]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without merged mappings, which grow by a factor at every level."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse a merge.

        Raises:
            yaml.constructor.ConstructorError: for a mapping with one.
        """
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, "it merges mappings", key.start_mark)
        super().flatten_mapping(node)
