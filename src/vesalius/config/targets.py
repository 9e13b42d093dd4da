"""Signatures of targets: every `_target_` imports, every key is one of its parameters, every required one is there."""

import importlib
import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vesalius.config.diagnose import did_you_mean
from vesalius.config.errors import InputError

# What the builder itself passes, so that no config has to.
PROVIDED: dict[str, frozenset[str]] = {
    "model": frozenset({"facts"}),
    "trainer": frozenset({"callbacks", "logger", "default_root_dir"}),
}
# The extra of pyproject.toml that brings a package.
EXTRAS = {
    "optuna": "sweep",
    "submitit": "sweep",
    "onnx": "deploy",
    "onnxscript": "deploy",
    "onnxruntime": "deploy",
    "captum": "deploy",
    "fastapi": "deploy",
    "highdicom": "deploy",
    "python_multipart": "deploy",
    "pynetdicom": "deploy",
    "uvicorn": "deploy",
    "cryptography": "privacy",
    "timm": "backbones",
    "huggingface_hub": "backbones",
    "obstore": "remote",
    "gdcm": "medical",
    "openjpeg": "medical",
    "jpeg_ls": "medical",
    "av": "medical",
}
#: Keys of a node that are not arguments of its target.
HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})


def locate(path: str) -> Any:
    """The object that a `_target_` names.

    Raises:
        InputError: where nothing of that name can be imported.
    """
    parts = path.split(".")
    for split in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:split])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            extra = EXTRAS.get(str(error.name).split(".")[0])
            line = f"pip install 'vesalius[{extra}]'" if extra else f"pip install {error.name}"
            raise InputError(f"{path} needs the package {error.name!r}: {line}") from error
        for part in parts[split:]:
            if not hasattr(found, part):
                names = [known for known in dir(found) if not known.startswith("_")]
                raise InputError(f"{name} has no {part!r}.{did_you_mean(part, names)}")
            found = getattr(found, part)
        return found
    raise InputError(f"{path} cannot be imported: is its package installed or on PYTHONPATH?")


def import_extra(name: str, needed_by: str) -> Any:
    """Import a package that comes with an extra.

    Args:
        name: of the package.
        needed_by: first words of the message, such as "A bundle".

    Raises:
        InputError: where it is not installed, with the line to type.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        extra = EXTRAS.get(name.split(".")[0])
        line = f"pip install 'vesalius[{extra}]'" if extra else f"pip install {name}"
        raise InputError(f"{needed_by} needs the package {name!r}: {line}") from error


def target_problems(node: Any, key: str) -> Iterator[str]:
    """Problems of every `_target_` at or below `node`, depth first; `key` is where it stands."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield from _call_problems(node, key)
        for name, child in node.items():
            yield from target_problems(child, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for position, child in enumerate(node):
            yield from target_problems(child, f"{key}[{position}]")


def _call_problems(node: Mapping[str, Any], key: str) -> Iterator[str]:
    try:
        target = locate(str(node["_target_"]))
    except InputError as error:
        yield f"{key}._target_: {error}"
        return
    if not callable(target):
        yield f"{key}._target_: {node['_target_']} cannot be called."
        return
    try:
        signature = inspect.signature(target)
    except ValueError:  # some compiled functions have none
        return
    given = {name: value for name, value in node.items() if name not in HYDRA_KEYS}
    parameters = _parameters(target, signature)
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    hints = _hints(target, parameters)
    provided = PROVIDED.get(key, frozenset())
    for name, value in given.items():
        if name in provided:
            yield f"{key}.{name}: Vesalius sets this itself: leave it out."
        elif name in parameters:
            if name in hints and not _fits(value, hints[name]):
                yield f"{key}.{name}={value!r}: expected {_describe(hints[name])}."
        elif not takes_any:
            yield f"{key}.{name}: {node['_target_']} has no such option.{did_you_mean(name, parameters)}"
    if node.get("_partial_"):
        return
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name, parameter in parameters.items():
        required = parameter.default is parameter.empty and parameter.kind not in starred
        if required and name not in given and name not in provided and "_args_" not in node:
            yield f"{key}.{name} is missing: {node['_target_']} needs it."


def _parameters(target: Any, signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """What may be given; `**options` of a class stands for the options of its parent."""
    parameters = dict(signature.parameters)
    rest = parameters.get("options")
    if not inspect.isclass(target) or rest is None or rest.kind is not rest.VAR_KEYWORD:
        return parameters
    del parameters["options"]
    parent = next(base for base in target.__mro__[1:] if "__init__" in vars(base))
    return _parameters(parent, inspect.signature(parent)) | parameters


def _hints(target: Any, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    try:
        written = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        written = {}
    # A class that hands options on may take a wider type than the signature that it passes off as its own.
    return {name: parameter.annotation for name, parameter in parameters.items()} | written


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain config value can be of type `hint`; anything that is not a plain type is let through."""
    if isinstance(value, Mapping) and "_target_" in value:
        return True
    origin = get_origin(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in get_args(hint))
    if hint is type(None):
        return value is None
    if origin in (list, Sequence):
        inner = get_args(hint)[:1]
        return isinstance(value, list) and all(_fits(entry, option) for entry in value for option in inner)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (bool, str):
        return isinstance(value, hint)
    return True


def _describe(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(repr(option) for option in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(hint))
    if hint is type(None):
        return "null"
    if origin in (list, Sequence):
        return f"a list, such as [{', '.join(_describe(option) for option in get_args(hint)[:1])}]"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    return words.get(hint, str(hint))
