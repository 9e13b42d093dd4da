from collections.abc import Callable
from typing import Any

import pytest

from vesalius.config.facts import Facts


@pytest.fixture(scope="session")
def make_facts() -> Callable[..., Facts]:
    def make(task: str = "multiclass", classes: int = 3, channels: int = 1, size: int = 16, **changes: Any) -> Facts:
        options: dict[str, Any] = {
            "task": task,
            "classes": tuple(f"c{k}" for k in range(classes)),
            "channels": channels,
            "image_size": (size, size),
            "value_max": 255.0,
            "class_counts": tuple(10 * (k + 1) for k in range(classes)),
            "train_size": 10 * classes * (classes + 1) // 2,
            "mean": (0.4,) * channels,
            "std": (0.2,) * channels,
        }
        return Facts(**(options | changes))

    return make
