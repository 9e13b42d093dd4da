"""The one place where a config becomes objects."""

from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from vesalius.config.errors import InputError, VesaliusError


def build(config: Mapping[str, Any], key: str, **provided: Any) -> Any:
    """Call the `_target_` of `config`, its own nested targets first.

    Args:
        config: a plain, frozen node with a `_target_`.
        key: where the node stands in the whole config; named in errors.
        provided: arguments that Vesalius sets itself (`vesalius.config.targets.PROVIDED`).

    Raises:
        InputError: with the target's own message on its arguments, after the key.
    """
    try:
        # Hydra would turn provided arguments into config nodes, and a dataclass into a dictionary.
        return instantiate({**config, "_partial_": True}, _convert_="all")(**provided)
    except Exception as error:
        cause: BaseException | None = error
        while isinstance(cause, InstantiationException):
            cause = cause.__cause__
        if isinstance(cause, VesaliusError):
            raise cause from error
        if isinstance(cause, ValueError | TypeError | ImportError) or _is_misconfiguration(cause):
            raise InputError(f"{key}: {cause}") from error
        raise


def build_named(entries: Mapping[str, Mapping[str, Any] | None], key: str) -> dict[str, Any]:
    """Build a dictionary of named entries in their order, without those that are `null`."""
    return {name: build(entry, f"{key}.{name}") for name, entry in entries.items() if entry is not None}


def _is_misconfiguration(error: BaseException | None) -> bool:
    # Lightning's own word for a bad Trainer option; compared by name to keep this layer free of torch.
    return type(error).__name__ == "MisconfigurationException"
