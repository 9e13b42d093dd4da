"""How a command's end becomes an exit code."""

import signal

import pytest

from vesalius.config.errors import InputError, RunFailed
from vesalius.launch.worker import enter, rank
from vesalius.runs.run_folder import Interrupted


@pytest.fixture(autouse=True)
def _signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (InputError("bad"), 2), (RunFailed("worse"), 1), (Interrupted(143), 143), (ValueError("bug"), 1)],
)
def test_exit_codes(error, code, capsys, tmp_path):
    def work(folder):
        assert folder == tmp_path
        if error is not None:
            raise error

    assert enter(work, [str(tmp_path)]) == code
    said = capsys.readouterr().err
    assert ("Traceback" in said) == isinstance(error, ValueError)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_interrupt(number, code, tmp_path):
    assert enter(lambda folder: signal.raise_signal(number), [str(tmp_path)]) == code


def test_the_warning_of_slurm_to_every_process_ends_nothing(tmp_path):
    assert enter(lambda folder: signal.raise_signal(signal.SIGUSR2), [str(tmp_path)]) == 0


def test_rank_comes_from_whoever_started_the_process(monkeypatch):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank() == 0
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank() == 1
