"""Here figures are drawn."""

from collections.abc import Iterator

import pytest

from sketches import real_figures


@pytest.fixture(autouse=True)
def _drawn() -> Iterator[None]:
    with real_figures():
        yield
