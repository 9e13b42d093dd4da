"""Commands that we print: split by bash as if they were pasted, composed as the command line would.

`commands_of` gives the words of every command of a document, `printed_commands` those of a help text, a comment or a
message; `check_command` says whether a command would be accepted, from Makefile, pyproject.toml and `conf/`, without
starting anything.
"""

import functools
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from vesalius.cli import VERBS
from vesalius.config.checks import check_config
from vesalius.config.command_line import is_multirun, quote_text_values, split_arguments
from vesalius.config.compose import conf_dir, freeze, register_resolvers
from vesalius.config.schema import register_schemas, root_keys

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
]
FLAGS = {"-m", "--multirun", "--help", "--version", "--completion", "--cfg", "--info", "--config-dir"}
_PROGRAMS = ("vesalius", "make", "pip", "source", "git", "wandb", "tensorboard", "torchrun", "pre-commit")
_STARTS = rf"(?:vesalius (?:(?:{'|'.join(VERBS)}) (?=-|\S*=)|VERB (?=-))|pip install )"
# Every program is a function that notes its words; anything else is not found. A pattern that matches no file ends the
# block, as it would in zsh: brackets must be quoted.
_PREAMBLE = """set -eu; shopt -s failglob; PATH=
note() { printf '%s\\0' "$#" "$@" >> "$NOTES"; }
""" + "\n".join(f'{name}() {{ note {name} "$@"; }}' for name in _PROGRAMS)


def text_of(path: Path) -> str:
    """A document, or the Markdown of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown")


def contributing_block(marker: str) -> str:
    """The code block behind a marker of CONTRIBUTING."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", text_of(ROOT / "CONTRIBUTING.md"), re.DOTALL)
    assert found is not None
    return found.group(1)


def section(text: str, title: str) -> str:
    """What stands below a heading of the second level, up to the next."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def bash_blocks(text: str) -> list[str]:
    """The code blocks of commands."""
    return re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def inline_commands(text: str) -> list[str]:
    """Commands within sentences and tables; the name of a verb without more is none."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    spans = [" ".join(span.split()) for span in re.findall(r"`(vesalius [^`]+)`", outside)]
    return [span.replace("\\|", "|") for span in spans if span.count(" ") > 1]


def printed_commands(text: str) -> list[str]:
    """Commands of a help text, a comment or a message: between backticks, or up to the end of the line.

    The name of a verb within a sentence is none, and neither is the title `vesalius train: ...`.
    """
    found = re.findall(rf"`({_STARTS}[^`]*)`", text)
    rest = re.sub(r"`[^`]*`", "", text)
    return [*found, *re.findall(rf"(?:^|(?<=\s)){_STARTS}.*", rest, re.MULTILINE)]


def words_in_bash(script: str, folder: Path) -> list[list[str]]:
    """The words of each command, as bash hands them to the program.

    Raises:
        AssertionError: where bash cannot read the script, or a word is a pattern that bash would replace.
    """
    notes = folder / "notes"
    notes.write_text("")
    done = subprocess.run(
        ["/bin/bash", "-c", f"{_PREAMBLE}\n{script}"],
        cwd=folder,
        env={"NOTES": str(notes)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"bash does not take this as it stands:\n{script}\n{done.stderr}"
    return list(_noted(notes.read_text().split("\0")[:-1]))


def _noted(words: list[str]) -> Iterator[list[str]]:
    while words:
        count = int(words[0])
        yield words[1 : count + 1]
        words = words[count + 1 :]


def commands_of(text: str, folder: Path) -> list[list[str]]:
    """Every command of a text; `folder` is empty."""
    scripts = [*bash_blocks(text), *inline_commands(text)]
    return [command for script in scripts for command in words_in_bash(script, folder)]


def check_command(words: list[str], config_dir: Path) -> None:
    """Whether a command would be accepted.

    Args:
        words: program and arguments.
        config_dir: stands for the folder behind `--config-dir`.

    Raises:
        AssertionError: for an unknown target of make, extra of pip, verb or flag.
        InputError: as the command line would.
    """
    program, *arguments = words
    if program == "make":
        assert set(arguments) <= makefile_targets(), words
    elif program == "pip":
        assert extras_named(words) <= extras(), words
    elif program == "torchrun":
        start = arguments.index("vesalius.cli")
        compose_command(tuple(arguments[start + 1 :]), config_dir)
    elif program == "vesalius":
        compose_command(tuple(arguments), config_dir)


@functools.cache
def makefile_targets() -> set[str]:
    """What `make` can be asked for."""
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@functools.cache
def extras() -> set[str]:
    """The extras of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set(project["optional-dependencies"])


def extras_named(words: list[str]) -> set[str]:
    """The extras that words such as `vesalius[medical]` name."""
    return {name for word in words for names in re.findall(r"\[([\w,]+)\]", word) for name in names.split(",")}


@functools.cache
def compose_command(arguments: tuple[str, ...], config_dir: Path) -> None:
    """Compose, freeze and check what `vesalius ARGUMENTS` would.

    Raises:
        AssertionError: for an unknown verb or flag.
        InputError: as the command line would.
    """
    verb, *rest = arguments
    unknown = {word for word in arguments if word.startswith("-")} - FLAGS
    assert not unknown, unknown
    if verb.startswith("--"):
        return
    assert verb in VERBS, verb
    overrides = split_arguments(quote_text_values(rest))
    folder = config_dir if "--config-dir" in rest else None
    for job in _jobs(overrides) if is_multirun(rest) else [overrides]:
        _compose(verb, job, folder)


def _compose(verb: str, overrides: list[str], folder: Path | None) -> None:
    search = [] if folder is None else [f"hydra.searchpath=[file://{folder}]"]
    with _hydra():
        config = hydra.compose(verb, [*search, *overrides], return_hydra_config=True)
    choices = config.hydra.runtime.choices
    with open_dict(config):
        del config["hydra"]
    assert set(map(str, config)) <= root_keys(verb)
    check_config(freeze(config, choices))


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra, which reads each file of `conf/` once as long as it is not asked for another folder."""
    register_schemas()
    register_resolvers()
    if not GlobalHydra.instance().is_initialized():
        hydra.initialize_config_dir(str(conf_dir()), version_base="1.3").__enter__()
    try:
        yield
    except BaseException:
        GlobalHydra.instance().clear()
        raise


def _jobs(overrides: list[str]) -> list[list[str]]:
    """As many jobs as show each option of each group once; of other values, the first."""
    parser = OverridesParser.create()
    values: list[list[str]] = []
    for text in overrides:
        override = parser.parse_override(text)
        key = override.key_or_group
        if not override.is_sweep_override():
            values.append([text])
        elif override.is_interval_sweep():
            values.append([f"{key}={override.value().start}"])
        else:
            found = [f"{key}={value}" for value in override.sweep_string_iterator()]
            values.append(found if (conf_dir() / key).is_dir() else found[:1])
    count = max(map(len, values), default=1)
    return [[options[number % len(options)] for options in values] for number in range(count)]
