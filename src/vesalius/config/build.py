"""The one place where a config becomes objects."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from vesalius.config.allowed import builds_an_object, check_allowed
from vesalius.config.errors import InputError, VesaliusError
from vesalius.config.targets import HYDRA_KEYS, locate


def build(config: Mapping[str, Any], key: str, *, target: Callable[..., Any] | None = None, **provided: Any) -> Any:
    """Call the `_target_` of `config`, its own nested targets first.

    It reads what Hydra's `instantiate` reads (`_target_`, `_args_`, `_partial_`, `_recursive_`), but takes every other
    value as it stands: Hydra would resolve interpolations, in which a config from someone else could hide a target, and
    turn arguments into its own containers.

    Args:
        config: a plain, frozen node with a `_target_`.
        key: where the node stands in the whole config; named in errors.
        target: to call in place of the node's own `_target_`.
        provided: arguments that Vesalius sets itself (`vesalius.config.targets.PROVIDED`).

    Raises:
        InputError: for a target that is not allowed (`vesalius.config.allowed`), or with the target's own message on
            its arguments, after the key.
    """
    check_allowed(config, key)
    try:
        return _call(config, provided, target)
    except VesaliusError:
        raise
    except Exception as error:
        if isinstance(error, ValueError | TypeError | ImportError) or _is_misconfiguration(error):
            raise InputError(f"{key}: {error}") from error
        raise


def build_named(entries: Mapping[str, Mapping[str, Any] | None], key: str) -> dict[str, Any]:
    """Build a dictionary of named entries in their order, without those that are `null`."""
    return {name: build(entry, f"{key}.{name}") for name, entry in entries.items() if entry is not None}


def _call(node: Mapping[str, Any], provided: Mapping[str, Any], target: Callable[..., Any] | None = None) -> Any:
    target = _located(node["_target_"]) if target is None else target
    inner = _built if node.get("_recursive_", True) else _as_it_is
    arguments = {name: inner(value) for name, value in node.items() if name not in HYDRA_KEYS}
    positional = [inner(value) for value in node.get("_args_", ())]
    if node.get("_partial_"):
        return partial(target, *positional, **arguments, **provided)
    return target(*positional, **arguments, **provided)


def _located(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = locate(name)
    if not builds_an_object(name, found):
        raise InputError(f"{name} is no class that a config can build: name one of its library's own classes.")
    return found


def _built(value: Any) -> Any:
    """A value with its nested targets called."""
    if isinstance(value, Mapping):
        return _call(value, {}) if "_target_" in value else {name: _built(inner) for name, inner in value.items()}
    return [_built(inner) for inner in value] if isinstance(value, list) else value


def _as_it_is(value: Any) -> Any:
    return value


def _is_misconfiguration(error: BaseException) -> bool:
    # Lightning's own word for a bad Trainer option; compared by name to keep this layer free of torch.
    return type(error).__name__ == "MisconfigurationException"
