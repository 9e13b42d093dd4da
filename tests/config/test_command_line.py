"""Command lines as people type them: paths and patterns are text, whatever characters they hold."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from vesalius.config.command_line import quote, quote_text_values, spelling
from vesalius.config.compose import load_config
from vesalius.config.errors import InputError

FOLDER = ["data=image_folder"]


@pytest.mark.parametrize(
    "name", ["2020", "my folder", "a=b", "a, b (c)", "it's", "true story", "1e3", "[x]y", "a:b", "5.0"]
)
def test_a_folder_of_any_name_is_a_path(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_config("train", [*FOLDER, f"data.source.root={name}"])["data"]["source"]["root"] == str(tmp_path / name)


def test_a_home_folder_is_expanded_even_where_it_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    root = load_config("train", [*FOLDER, "data.source.root=~/nowhere"])["data"]["source"]["root"]
    assert root == str(tmp_path / "nowhere")


@pytest.mark.parametrize("pattern", ["(P[0-9]+)_", "^([^_]+)", r"(?:sub-)(\d+)", "P(..)"])
def test_a_pattern_is_text(pattern):
    config = load_config("train", [*FOLDER, "data.source.root=x", f"data.source.group_pattern={pattern}"])
    assert config["data"]["source"]["group_pattern"] == pattern


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("a,b", ["a", "b"]),  # although a folder is called so
        ("my data (1), my data (2)", ["my data (1)", "my data (2)"]),
        ("2019,2020", ["2019", "2020"]),
        ("it's,x=y", ["it's", "x=y"]),
        ("'a,b',c", ["a,b", "c"]),
        ('"it\\"s, b",c', ['it"s, b', "c"]),
        ("(P[0-9]{1,2})_,(Q..)", ["(P[0-9]{1,2})_", "(Q..)"]),
        ("choice(a,b)", ["a", "b"]),
        ("null,x", [None, "x"]),
    ],
)
def test_commas_separate_texts_of_a_sweep(tmp_path, monkeypatch, value, texts):
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path)
    _, override = quote_text_values(["-m", f"data.source.root={value}"])
    parsed = OverridesParser.create().parse_override(override)
    assert [getattr(text, "text", text) for text in parsed.sweep_iterator()] == texts


@pytest.mark.parametrize("value", ["a(, b", "[1,2", "'a, b'", "a (1,2)"])
def test_one_text_of_a_sweep_is_no_sweep(value):
    _, override = quote_text_values(["-m", f"data.source.root={value}"])
    assert OverridesParser.create().parse_override(override).value() == value.strip("'")


def test_commas_separate_values_in_a_sweep_and_belong_to_the_name_of_a_folder_otherwise(tmp_path, monkeypatch):
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert quote_text_values(["data.source.root=a,b"]) == ["data.source.root='a,b'"]
    assert quote_text_values(["--config-dir", "root=2", "seed=2"]) == ["--config-dir", "root=2", "seed=2"]


@given(st.text(min_size=1).filter(lambda text: "${" not in text and "\n" not in text and "\r" not in text))
def test_quoted_text_is_read_back(text):
    assert OverridesParser.create().parse_override(f"key={quote(text)}").value() == text


def test_the_spelling_that_a_message_gives_is_one_that_works():
    assert spelling("name=x y(z)") == "'name=\"x y(z)\"'"
    assert load_config("train", [spelling("name=x y(z)").strip("'")])["name"] == "x y(z)"
    assert spelling("data.source.classes=[a") == ""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.source.classes=[a", "with brackets and quotes closed"),
        ("name=x y(z)", r"type 'name=\"x y\(z\)\"'"),
        ("name=${oc.env:VESALIUS_NOT_SET}", "set the variable"),
    ],
)
def test_what_cannot_be_read_comes_with_the_spelling_that_can(override, message):
    with pytest.raises(InputError, match=message):
        load_config("train", [override])


def test_add_or_override_takes_a_new_key():
    config = load_config("train", ["++model.optimizer.betas=[0.5,0.9]", "++seed=3"])
    assert config["model"]["optimizer"]["betas"] == [0.5, 0.9]
    assert config["seed"] == 3


def test_several_values_without_a_sweep_name_all_three_ways_out(vesalius):
    done = vesalius("train", "model.optimizer.lr=0.1,0.2")
    assert done.returncode == 2
    assert "add -m" in done.stderr
    assert "model.optimizer.lr=[0.1,0.2]" in done.stderr
