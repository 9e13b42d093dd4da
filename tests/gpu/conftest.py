"""What runs on a CUDA GPU (`make gpu`), and, far smaller, the same code on the CPU, as slow tests."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_table import ROWS, write_table

_NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")


@pytest.fixture(
    params=[pytest.param("cuda", marks=[pytest.mark.gpu, _NO_CUDA]), pytest.param("cpu", marks=pytest.mark.slow)]
)
def device(request: pytest.FixtureRequest) -> str:
    """`cuda` at the sizes of the figures, `cpu` at tiny ones."""
    return request.param


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table, once, at the end."""
    folder = Path(os.environ.get("OUT", "."))
    if not hasattr(config, "workerinput") and (folder / ROWS).exists():
        terminalreporter.write_line("\n" + write_table(folder))
