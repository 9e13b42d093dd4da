"""Which code a config may call: the classes that configs are for, and what the user has named or allowed.

A run folder, a checkpoint or a config may come from someone else, and its `_target_` entries must not run what they
like. Unless the user has a word in it, only the classes of `PACKAGES` are built. Others are those that the user's own
command line named (see `vesalius.runs.signature`), and those of the environment variable `VESALIUS_ALLOW`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vesalius.config.errors import InputError

VARIABLE = "VESALIUS_ALLOW"
#: Packages whose classes any config may name, each by one name behind the package's own.
PACKAGES = (
    *("vesalius.models", "vesalius.models.nets", "vesalius.training"),
    *("vesalius.data", "vesalius.data.augment", "vesalius.data.audit", "vesalius.data.sources"),
    *("torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torchvision.models"),
    *("torchmetrics", "torchmetrics.classification", "torchmetrics.regression"),
    *("pytorch_lightning.callbacks", "optuna.pruners", "optuna.samplers"),
)
# Functions among them that build an object.
_FUNCTIONS = ("vesalius.models.build_task_loss",)
_NAME = re.compile(r"[A-Z]\w*")
_IN_TEXT = re.compile(r"_target_ *[:=] *['\"]?([A-Za-z_][\w.]*)")

_named_by_user: set[str] = set()


def targets_of(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Key and name of every `_target_` at or below a node of a plain config; what is no text has no name to allow.

    Those within a text count too: it may be an override that a study composes later.
    """
    if isinstance(node, Mapping):
        for name, child in node.items():
            where = f"{key}.{name}" if key else str(name)
            if name == "_target_":
                yield where, child if isinstance(child, str) else repr(child)
            else:
                yield from targets_of(child, where)
    elif isinstance(node, list | tuple):
        for position, child in enumerate(node):
            yield from targets_of(child, f"{key}[{position}]")
    elif isinstance(node, str):
        yield from ((key, name) for name in targets_in(node))


def targets_in(text: str) -> list[str]:
    """Names of all targets in the text of a config, also within overrides."""
    return _IN_TEXT.findall(text)


def is_allowed(target: str) -> bool:
    """Whether a config may name this target; nothing is imported to find out."""
    package, _, name = target.rpartition(".")
    if package in PACKAGES and (_NAME.fullmatch(name) or target in _FUNCTIONS):
        return True
    return _has_users_word(target)


def builds_an_object(target: str, found: object) -> bool:
    """Whether what an allowed name stands for is a class of that library, and nothing that it has imported itself."""
    if target in _FUNCTIONS or _has_users_word(target):
        return True
    return isinstance(found, type) and found.__module__.split(".")[0] == target.split(".")[0]


def _has_users_word(target: str) -> bool:
    allowed = [one.strip() for one in os.environ.get(VARIABLE, "").split(",")]
    return target in _named_by_user or any(one and (target == one or target.startswith(f"{one}.")) for one in allowed)


def check_allowed(node: Any, key: str = "") -> None:
    """Refuse a config, or a part of one, that names other code.

    Args:
        node: plain containers.
        key: where it stands in the whole config.

    Raises:
        InputError: with each `_target_` that is not allowed.
    """
    refused = [(where, target) for where, target in targets_of(node, key) if not is_allowed(target)]
    if refused:
        raise InputError(
            f"{where}={target}: this config does not come from a command of yours on this machine, and may only name "
            f"classes of Vesalius and its libraries. If you trust it, set {VARIABLE}={target.partition('.')[0]}."
            for where, target in refused
        )


def allow(targets: Iterable[str]) -> None:
    """Allow these targets for the rest of this process: the user has named them."""
    _named_by_user.update(targets)
