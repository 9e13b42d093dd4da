"""The search space: Hydra's syntax means what it says, and whatever is drawn can be typed again."""

import itertools

import optuna
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from vesalius.config.errors import InputError
from vesalius.sweeps.search.space import search_space


def drawn(text, *, n=200, params=None):
    """Values of `key` as Hydra reads the overrides of `n` random points."""
    space = search_space([f"key={text}"], params or {})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [study.ask(space.distributions).params for _ in range(n)]
    parser = OverridesParser.create()
    return [parser.parse_override(space.overrides(point)[0]).value() for point in points]


def test_an_interval_gives_real_numbers_between_its_ends():
    values = drawn("interval(0.5, 2)")
    assert all(isinstance(value, float) and 0.5 <= value <= 2 for value in values)
    assert len(set(values)) == len(values)


def test_on_a_log_scale_each_decade_gets_its_share():
    values = drawn("tag(log, interval(1e-4, 1e-1))", n=3000)
    assert all(1e-4 <= value <= 1e-1 for value in values)
    share = sum(value < 1e-3 for value in values) / len(values)
    assert share == pytest.approx(1 / 3, abs=0.04)  # over four standard errors


def test_an_interval_of_whole_numbers_holds_both_ends():
    assert set(drawn("int(interval(2, 5))")) == {2, 3, 4, 5}


def test_a_range_holds_what_hydra_and_python_say():
    assert set(drawn("range(1, 5)")) == set(range(1, 5))
    assert set(drawn("range(0, 10, 3)")) == set(range(0, 10, 3))
    assert sorted(set(drawn("range(0.1, 0.5, 0.1)"))) == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("choice(relu, gelu)", ["relu", "gelu"]),
        ("1,2,4", [1, 2, 4]),
        ("true,false,null", [True, False, None]),
        ("[1,2],[3]", [[1, 2], [3]]),
        ("{a:1},{a:2}", [{"a": 1}, {"a": 2}]),
        ("'a b','c,d'", ["a b", "c,d"]),
        ("shuffle(1e-3,3e-3)", [1e-3, 3e-3]),
    ],
)
def test_choices_of_any_kind_come_out_as_they_went_in(text, values):
    found = drawn(text, n=40)
    assert all(value in values for value in found)
    assert all(value in found for value in values)


def test_a_grid_is_what_a_basic_sweep_would_run():
    arguments = ["data.fold=0,1", "seed=range(3)", "model=cnn,resnet18", "trainer.max_epochs=5"]
    basic = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(arguments), None)[0]
    space = search_space(arguments, {})
    assert [set(space.overrides(point)) for point in space.grid()] == [set(job) for job in basic]
    varying = [[job[0], job[1], job[2]] for job in basic]
    assert [space.overrides(point)[1:] for point in space.grid()] == varying


def test_a_grid_of_decimals_has_no_rounding_in_it():
    space = search_space(["a=range(0.1, 0.75, 0.1)"], {})
    assert [point["a"] for point in space.grid()] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_what_is_typed_goes_before_the_file():
    params = {"a": "interval(0, 1)", "b": "1,2", "c": "interval(0, 1)"}
    space = search_space(["a=5", "+d.e=1,2", "~f", "c=3,4"], params)
    assert set(space.distributions) == {"b", "+d.e", "c"}
    assert set(space.fixed) == {"a=5", "~f"}
    assert space.texts == {"b": "1,2", "+d.e": "1,2", "c": "3,4"}
    overrides = space.overrides(space.example)
    assert set(overrides) == {"a=5", "~f", "b=1", "+d.e=1", "c=3"}


def test_every_mistake_is_named_at_once_with_its_cure():
    wrong = {
        "model=glob(*)": "choice(a, b)",
        "a=tag(log, interval(0, 1))": "above 0",
        "b=interval(2, 1)": "lower end comes first",
        "c=range(3, 3)": "this range is empty",
        "d=tag(log, range(1, 9, 2))": "no log scale",
        "e=1,1": "twice",
        "f=interval(1": "quote",
    }
    with pytest.raises(InputError) as error:
        search_space(list(wrong), {})
    said = error.value.problems
    assert len(said) == len(wrong)
    for argument, cure in wrong.items():
        assert any(argument in problem and cure in problem for problem in said), argument


def test_nothing_to_search_is_refused():
    with pytest.raises(InputError, match="nothing varies"):
        search_space(["seed=1"], {})


def test_a_grid_over_an_interval_is_refused_with_values_to_type():
    space = search_space(["lr=tag(log, interval(1e-4, 1e-2))", "n=int(interval(1, 3))"], {})
    with pytest.raises(InputError, match=r"lr=0\.0001,0\.001,0\.01") as error:
        space.grid()
    assert len(error.value.problems) == 1
    cured = search_space(["lr=0.0001,0.001,0.01", "n=int(interval(1, 3))"], {})
    assert len(cured.grid()) == len(list(itertools.product(range(3), range(3))))
