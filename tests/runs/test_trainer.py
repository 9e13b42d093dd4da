"""The one choice that the machine makes."""

import pytest
import torch

from vesalius.config.targets import target_problems
from vesalius.runs.trainer import Trainer, best_precision

NODE = {"_target_": "vesalius.runs.trainer.Trainer"}


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx2": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_a_cpu_gets_bf16_only_with_units_for_it(monkeypatch, capabilities, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert best_precision("cpu") == precision


def test_a_given_precision_is_kept():
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    assert Trainer(precision="32-true", **options).precision == "32-true"
    assert Trainer(**options).precision == best_precision("cpu")


def test_its_keys_and_values_are_checked_as_lightnings():
    assert list(target_problems({**NODE, "precision": "auto", "max_epochs": 3}, "trainer")) == []
    (problem,) = target_problems({**NODE, "max_epoch": 3}, "trainer")
    assert "Did you mean 'max_epochs'?" in problem
    (problem,) = target_problems({**NODE, "max_epochs": "many"}, "trainer")
    assert "expected a whole number or null" in problem
