"""Commands in help texts, in comments of `conf/` and in messages: bash reads them as they stand, and they compose."""

import ast
import re

import pytest
import yaml

from documented_commands import ROOT, check_command, printed_commands, words_in_bash
from vesalius.cli import HELP, VERBS
from vesalius.config.compose import conf_dir, load_config
from vesalius.config.errors import InputError

pytestmark = pytest.mark.xdist_group("printed_commands")  # many are printed twice, and composed once

CONFIGS = sorted(conf_dir().rglob("*.yaml"))
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = "".join(path.read_text() for path in SOURCES)


def comments_of(text):
    """Each comment on a line of its own, with the lines below it that hold nothing else."""
    return "\n".join(re.findall(r"(?<!\S)# *(.*)", re.sub(r"\n\s*# *", " ", text)))


def texts_of(path):
    """Every text of a Python file; what it fills in is a 1, which is no extra of pip."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    filled = [node.values for node in nodes if isinstance(node, ast.JoinedStr)]
    for values in filled:
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in values)
        yield text.replace("vesalius[1]", "vesalius[sweep]")
    parts = {id(part) for values in filled for part in values}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts]
    yield from (node.value for node in constants if isinstance(node.value, str))


def check(text, folder):
    commands = [words for script in printed_commands(text) for words in words_in_bash(script, folder)]
    for words in commands:
        check_command(["train" if word == "VERB" else word for word in words], folder)
    return len(commands)


@pytest.mark.parametrize("verb", [*VERBS, None])
def test_commands_of_a_help_text(verb, tmp_path):
    text = (
        HELP if verb is None else yaml.safe_load((conf_dir() / f"{verb}.yaml").read_text())["hydra"]["help"]["template"]
    )
    assert check(text, tmp_path) >= 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.relative_to(conf_dir()).as_posix())
def test_commands_of_comments(path, tmp_path):
    text = comments_of(path.read_text())
    check(text, tmp_path)
    assert not re.search(r"(?<!\S)-m \S+=", re.sub(r"`[^`]*`", "", text)), "a part of a command is none to paste"


def test_commands_of_messages(tmp_path):
    found = {path: sum(check(text, tmp_path) for text in set(texts_of(path))) for path in SOURCES}
    assert sum(found.values()) > 10


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("train it with `vesalius train seed=1`, or", ["vesalius train seed=1"]),
        ("    vesalius train -m seed=1,2   # two\n    vesalius train\n", ["vesalius train -m seed=1,2   # two"]),
        ("type pip install 'vesalius[sweep]'", ["pip install 'vesalius[sweep]'"]),
        ("vesalius train: trains; see vesalius audit for more, or `vesalius audit`.", []),
    ],
)
def test_what_counts_as_a_command(text, commands):
    assert printed_commands(text) == commands


def test_the_verb_that_a_message_proposes_takes_the_option(tmp_path):
    with pytest.raises(InputError, match="Did you mean") as refused:
        load_config("evaluate", ["run=x", "trainer=cnn"])
    (command,) = re.findall(r"'(vesalius [^']+)'", str(refused.value))
    check_command(command.split(), tmp_path)


def test_measurements_name_tests_that_there_are():
    for named in re.findall(r"pytest -m proof -s\s+(\S+?\.py)", CODE):
        assert (ROOT / named).is_file(), named
