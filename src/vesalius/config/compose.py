"""Compose a verb's config with Hydra and freeze it. Torch-free: this is all that runs before work starts."""

import contextlib
import errno
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vesalius.config.addresses import address_problems
from vesalius.config.command_line import config_dir_of, is_multirun, quote_text_values, split_arguments
from vesalius.config.errors import InputError
from vesalius.config.override_problems import NOT_COMPOSED, find_problems, missing_values, several_values
from vesalius.config.path_keys import PATH_KEYS
from vesalius.config.schema import register_schemas, root_keys

Plain = dict[str, Any]
Work = Callable[[Plain, list[str], Path], Any]
_ROOM = 2**31  # bytes


def conf_dir() -> Path:
    """`conf/` inside the installed package, or at the repository root of an editable install."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def register_resolvers() -> None:
    """Register the resolvers of the `hydra` node; values of a task never use one."""

    def run_id() -> str:
        # Seconds are not enough: jobs of one cluster start in the same one.
        return f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{secrets.token_hex(2)}"

    OmegaConf.register_new_resolver("vesalius.inside", lambda folder: f"{folder}/" if folder else "", replace=True)
    OmegaConf.register_new_resolver("vesalius.private_folder", _private_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("vesalius.run_name", _run_name, replace=True)
    OmegaConf.register_new_resolver("vesalius.run_id", run_id, use_cache=True, replace=True)


def _private_folder() -> str:
    """A new folder that only this user may read, in memory where there is room for it."""
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError):
        room = os.statvfs(memory)
        if os.access(memory, os.W_OK) and room.f_bavail * room.f_frsize > _ROOM:
            return tempfile.mkdtemp(prefix="vesalius-", dir=memory)
    return tempfile.mkdtemp(prefix="vesalius-")


def _run_name(name: str | None, choices: Mapping[str, Any], verb: str | None = None) -> str:
    """The user's name, else the experiment's, else `<data>_<model>`, after the verb if one is given."""
    parts = [verb, choices.get("data"), choices.get("model")]
    chosen = choices.get("experiment") or "_".join(str(part) for part in parts if part)
    return str(name or chosen).replace("/", "_")


def plain_options(options: Mapping[str, Any]) -> Plain:
    """The options that Hydra hands to a plugin, their nodes as plain containers."""
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in options.items()
    }


def freeze(config: DictConfig, choices: Mapping[str, Any]) -> Plain:
    """Resolve everything into plain containers, once, and list what is still missing.

    Raises:
        InputError: naming every `???` that was left open.
    """
    missing = missing_values(config)
    if missing:
        raise InputError(missing)
    try:
        frozen = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from error
    assert isinstance(frozen, dict)
    plain: Plain = {str(key): value for key, value in frozen.items()}
    if "name" in plain:
        plain["name"] = _run_name(plain["name"], choices)
    if "seed" in plain and plain["seed"] is None:
        plain["seed"] = secrets.randbelow(2**31)
    if not 0 <= plain.get("seed", 0) < 2**32:
        raise InputError(f"seed={plain['seed']}: must lie between 0 and 2**32 - 1, or be null for one at random.")
    problems = [problem for key, value in plain.items() for problem in _address_problems(value, key)]
    if problems:
        raise InputError(problems)
    return {key: _absolute(value, key) for key, value in plain.items()}


def _address_problems(value: Any, key: str) -> list[str]:
    if isinstance(value, dict):
        return [problem for name, inner in value.items() for problem in _address_problems(inner, f"{key}.{name}")]
    return address_problems(key, value)


def _absolute(value: Any, key: str) -> Any:
    """Absolute paths: a run is evaluated and resumed from other folders than it was started in."""
    if isinstance(value, dict):
        return {name: _absolute(inner, name) for name, inner in value.items()}
    if key in PATH_KEYS and isinstance(value, str) and value:
        path = Path(value).expanduser()
        return str(path.resolve()) if path.exists() or value.startswith("~") else value
    return value


class _Registered:
    """Registers what composing needs, also in the process to which another launcher sends a job."""

    def __init__(self) -> None:
        register_schemas()
        register_resolvers()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_Registered, ())


def run_hydra(verb: str, arguments: list[str], work: Work, begin: Work) -> Path | None:
    """Let Hydra read `arguments` for `verb` and call `work(frozen config, typed overrides, folder)`.

    Args:
        verb: the primary config.
        arguments: as typed.
        work: does a single run, or a job that another launcher than that of Vesalius has started.
        begin: creates and returns the run folder of a job of a sweep, which the launcher of Vesalius then starts.

    Returns:
        The folder of a sweep; None for a single run.

    Raises:
        InputError: with every problem of the config or the command line in one message.
    """
    registered = _Registered()
    arguments = quote_text_values(arguments)
    overrides = split_arguments(arguments)
    if any(override.startswith("+") for override in overrides) or is_multirun(arguments):
        # Hydra accepts any key after a plus, and would find the mistake of a sweep's last job after the first is done.
        _raise_problems(verb, arguments, overrides)

    refused: list[str] = []
    begun: list[DictConfig] = []

    def task(config: DictConfig, registered: _Registered = registered) -> Any:
        begun.append(config)
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir)
        sweep = settings.mode == RunMode.MULTIRUN
        try:
            _check_root(verb, arguments, config)
            frozen = freeze(config, settings.runtime.choices)
            if not sweep and settings.runtime.choices.get("hparams_search") is not None:
                raise InputError(
                    f"hparams_search={settings.runtime.choices['hparams_search']} is a search of many runs: add -m."
                )
            starts_later = sweep and settings.runtime.choices.get("hydra/launcher") == "vesalius"
            return (begin if starts_later else work)(frozen, list(settings.overrides.task), folder)
        except InputError as error:
            remove_if_empty(folder)
            if sweep:
                raise
            refused.extend(error.problems)  # handed over below: Hydra would print a line of its own first
            return None

    # With this variable Hydra hands us its errors instead of printing them and leaving with exit code 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"vesalius {verb}", *arguments]
    HydraConfig.instance().cfg = None
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=verb)(task)()
    except NOT_COMPOSED as error:
        if getattr(error, "full_key", None) == "hydra.sweep.dir":  # in a run's folder, and there are several runs
            cure = "name the sweep's folder with hydra.sweep.dir=DIR"
            raise InputError(f"several values of run have no folder in common: {cure}.") from error
        at_work = begun or sweep_dir() is not None
        if at_work and not isinstance(error, HydraException | OmegaConfBaseException):
            raise  # of the work or the sweep, and no mistake in the config
        _raise_problems(verb, arguments, overrides, error)
    except OSError as error:  # Hydra creates the output folder before its path is checked
        if begun or not _was_creating_a_folder(error):
            if error.errno == errno.ENAMETOOLONG:
                _raise_problems(verb, arguments, overrides, error)
            raise
        if isinstance(error, NotADirectoryError):
            place = next(one for one in Path(error.filename).parents if os.path.exists(one))
            raise InputError(f"{place} is a file, where a folder is needed: name a folder.") from error
        key = "hydra.run.dir" if sweep_dir() is None else "hydra.sweep.dir"
        reason = f"{error.filename} cannot be created ({error.strerror})"
        raise InputError(f"{reason}: choose another folder with {key}.") from error
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
    if refused:
        raise InputError(refused)
    return sweep_dir()


def _was_creating_a_folder(error: OSError) -> bool:
    """Whether creating a folder failed: Hydra also reads files, and creates only the output folder."""
    return any(frame.f_code.co_name == "mkdir" for frame, _ in traceback.walk_tb(error.__traceback__))


def sweep_dir() -> Path | None:
    """The folder of the last sweep; None without a sweep, and for a name that does not resolve."""
    swept = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    with contextlib.suppress(OmegaConfBaseException):
        return Path(HydraConfig.get().sweep.dir) if swept else None
    return None


def load_config(verb: str, overrides: list[str], config_dir: str | None = None) -> Plain:
    """The frozen config that a command line would give, for notebooks and tests.

    Args:
        verb: such as `train`.
        overrides: as on the command line.
        config_dir: a folder of one's own configs.

    Raises:
        InputError: as the command line would.
    """
    register_schemas()
    register_resolvers()
    overrides = quote_text_values(overrides)
    adds = any(override.startswith("+") for override in overrides)
    if config_dir is not None or adds:  # Hydra accepts these unchecked
        problems = find_problems(verb, conf_dir(), config_dir, overrides)
        if problems:
            raise InputError(problems)
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"]
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = hydra.compose(verb, [*search, *overrides], return_hydra_config=True)
    except (*NOT_COMPOSED, OSError) as error:
        problems = find_problems(verb, conf_dir(), config_dir, overrides)
        raise InputError(problems or one_line(error)) from error
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    return freeze(config, choices)


def _check_root(verb: str, arguments: list[str], config: DictConfig) -> None:
    """The closed schema, once more on what was composed: a config file may bring in a key too."""
    unknown = sorted(set(map(str, config)) - root_keys(verb))
    if unknown:
        _raise_problems(verb, arguments, [f"+{key}=null" for key in unknown])


def remove_if_empty(folder: Path) -> None:
    """Remove the empty folder, and empty parents, that Hydra created for a job that is then refused."""
    for one in (folder, *folder.parents):
        if os.path.islink(one):
            return
        if os.path.isdir(one):  # `Path` raises for a name that is too long
            if any(one.iterdir()) or one.resolve() == Path.cwd() or one.is_mount():
                return
            one.rmdir()


def _raise_problems(verb: str, arguments: list[str], overrides: list[str], error: Exception | None = None) -> None:
    problems = find_problems(verb, conf_dir(), config_dir_of(arguments), overrides)
    if not problems and not is_multirun(arguments):
        problems = list(several_values(overrides))
    if problems or error:
        raise InputError(problems or one_line(error)) from error


def one_line(error: BaseException | None) -> str:
    """The messages of an error and of its causes, on one line."""
    parts: list[str] = []
    while error is not None:
        text = " ".join(str(error).split())
        if text and text not in parts:
            parts.append(text)
        error = error.__cause__
    return ": ".join(parts)
