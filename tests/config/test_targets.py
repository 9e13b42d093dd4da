"""Signatures of targets."""

import pytest

from vesalius.config.build import build, build_named
from vesalius.config.errors import InputError
from vesalius.config.targets import locate, target_problems


@pytest.fixture(autouse=True)
def _small_classes(monkeypatch):
    """Classes of the standard library, which a config may not name without the user's word."""
    monkeypatch.setenv("VESALIUS_ALLOW", "builtins,fractions")


def problems(node):
    return list(target_problems(node, "part"))


def test_a_right_call_has_no_problems():
    assert problems({"_target_": "fractions.Fraction", "numerator": 1}) == []


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "torch.optim.AdamW", "_partial_": True, "weight_decy": 1}, "Did you mean 'weight_decay'?"),
        ({"_target_": "torch.optim.AdamX"}, "Did you mean 'Adam"),
        ({"_target_": "nowhere.at.all"}, "cannot be imported"),
        ({"_target_": "json.encoder.FLOAT_REPR.x"}, "has no"),
        ({"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", "save_top_k": "many"}, "expected a whole number"),
        ({"_target_": "pytorch_lightning.callbacks.EarlyStopping"}, "part.monitor is missing"),
        ({"_target_": "math.pi"}, "cannot be called"),
    ],
)
def test_each_mistake_is_named(node, said):
    assert any(said in problem for problem in problems(node)), problems(node)


def test_all_problems_come_at_once_with_where_they_stand():
    node = {"a": {"_target_": "fractions.Fraction", "x": 1}, "b": [{"_target_": "fractions.Fraction", "y": 1}]}
    found = problems(node)
    assert len(found) == 2
    assert found[0].startswith("part.a.x")
    assert found[1].startswith("part.b[0].y")


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="not_installed_anywhere"):
        locate("needs_more.Thing")


def test_what_the_builder_provides_is_not_for_the_config():
    node = {"_target_": "vesalius.training.Trainer", "logger": False}
    (problem,) = target_problems(node, "trainer")
    assert "Vesalius sets this itself" in problem


def test_no_omegaconf_type_reaches_a_constructor():
    built = build({"_target_": "builtins.dict", "a": [1, {"b": [2]}]}, "part")
    assert type(built["a"]) is list
    assert type(built["a"][1]) is dict


def test_named_entries_keep_their_order_and_null_removes_one():
    entry = {"_target_": "fractions.Fraction"}
    assert list(build_named({"b": entry, "gone": None, "a": entry}, "part")) == ["b", "a"]


def test_what_a_constructor_says_of_its_arguments_is_passed_on_with_the_key():
    with pytest.raises(InputError, match="part: Invalid literal"):
        build({"_target_": "fractions.Fraction", "numerator": "x"}, "part")


class Parent:
    def __init__(self, size: int, *, name: str = "") -> None:
        self.size, self.name = size, name


class Child(Parent):
    def __init__(self, width: int, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.width = width


def test_options_that_a_class_hands_to_its_parent_are_checked_too(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "family", sys.modules[__name__])
    assert problems({"_target_": "family.Child", "width": 1, "size": 2}) == []
    found = problems({"_target_": "family.Child", "width": 1, "nane": "x", "size": "big"})
    assert "Did you mean 'name'?" in found[0]
    assert "expected a whole number" in found[1]
    assert problems({"_target_": "family.Child", "width": 1}) == ["part.size is missing: family.Child needs it."]
