"""What all tests share: where things are, and how a command is run as a user would."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, settings

from sketches import leave_figures_blank, sketch_figures
from warm_interpreter import WarmInterpreter

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"

WARM = pytest.StashKey[WarmInterpreter]()

# A busy machine is no fault of a test.
settings.register_profile("vesalius", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("vesalius")
sketch_figures()
gc.disable()  # imports make a million objects that live to the end; to look for garbage among them costs a fifth


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """All is imported, and no test has changed anything."""
    gc.freeze()
    gc.enable()
    if getattr(session, "items", ()):
        leave_figures_blank()
    if any("warm_vesalius_in" in getattr(item, "fixturenames", ()) for item in getattr(session, "items", ())):
        session.config.stash[WARM] = WarmInterpreter()


def pytest_unconfigure() -> None:
    """The interpreter ends as it would have."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded images of this test session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def isolation(cache_dir: Path) -> dict[str, str]:
    """What keeps tests away from the user's cache, identities and W&B account."""
    identities = cache_dir.parent / "private" / "identities.sqlite"
    return {"VESALIUS_CACHE": str(cache_dir), "VESALIUS_IDENTITIES": str(identities), "WANDB_MODE": "offline"}


@pytest.fixture(autouse=True, scope="module")
def _leave_no_hydra() -> Iterator[None]:
    """Hydra is not left initialised for the next module, which may read a config as a command does."""
    yield
    GlobalHydra.instance().clear()


@pytest.fixture(autouse=True, scope="session")
def _isolated(isolation: dict[str, str]) -> Iterator[None]:
    """No test touches what is the user's."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in isolation.items():
            patch.setenv(name, value)
        for name in {name for name in os.environ if name.startswith("WANDB_")} - isolation.keys():
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def fresh_vesalius_in() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `vesalius ...` in a folder and return what it printed; for fixtures that several tests share."""

    def run(place: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "vesalius.cli", *map(str, arguments)]
        env = {**os.environ, "COLUMNS": "200"}
        return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=timeout, env=env)

    return run


@pytest.fixture(scope="session")
def vesalius_in(
    fresh_vesalius_in: Callable[..., subprocess.CompletedProcess[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As `fresh_vesalius_in`, unless the tests' module has a fixture of this name that returns `warm_vesalius_in`."""
    return fresh_vesalius_in


@pytest.fixture(scope="session")
def warm_vesalius_in(
    tmp_path_factory: pytest.TempPathFactory, _isolated: None, pytestconfig: pytest.Config
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """As `fresh_vesalius_in`, without the seconds that imports take; `warm_interpreter` says what differs."""
    interpreter, said = pytestconfig.stash[WARM], tmp_path_factory.mktemp("said")

    def run(place: Path, *arguments: str, timeout: float = 300, **options: bool) -> subprocess.CompletedProcess[str]:
        return interpreter.run(place, said, [str(argument) for argument in arguments], timeout, **options)

    yield run
    interpreter.close()


@pytest.fixture
def vesalius(
    vesalius_in: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `vesalius ...` in an empty folder and return what it printed."""

    def run(*arguments: str, cwd: Path = tmp_path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return vesalius_in(cwd, *arguments, timeout=timeout)

    return run
