"""The documentation is true: its commands compose, its reference is complete, its pages load nothing from a network."""

import ast
import importlib
import importlib.util
import re
from typing import get_args

import pytest
import yaml
from hydra.errors import HydraException

from documented_commands import (
    DOCUMENTS,
    ROOT,
    bash_blocks,
    check_command,
    commands_of,
    contributing_block,
    text_of,
    words_in_bash,
)
from vesalius.cli import VERBS
from vesalius.config.compose import conf_dir, register_resolvers
from vesalius.config.facts import Task
from vesalius.config.override_problems import find_problems
from vesalius.config.schema import register_schemas
from vesalius.data.audit.findings import CHECKS
from vesalius.metrics.names import (
    CLASSIFICATION_METRICS,
    RECONSTRUCTION_METRICS,
    REGRESSION_METRICS,
    SYNTHESIS_METRICS,
)

spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs/hooks.py")
hooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hooks)

_PARTS = ("", "/encoder", "/decoder", "/generator", "/critic", "/schedule")
#: Their commands compose in `make test`, those of all other pages in `make test-all`.
READ_FIRST = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/get-started.md", "docs/data/index.md")]
MARKDOWN = [path for path in DOCUMENTS if path.suffix == ".md"]


@pytest.fixture(scope="module")
def own_configs(tmp_path_factory):
    """What stands for the folder of one's own configs: every file that the documentation shows of it."""
    folder = tmp_path_factory.mktemp("own") / "myconf"
    for path in MARKDOWN:
        for name, block in re.findall(
            r"^```yaml\n(# myconf/(?:\S+)\n)(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE
        ):
            place = folder.parent / name.removeprefix("# ").strip()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block)
    (folder.parent / "mynets.py").write_text(contributing_block("own-net"))
    return folder


@pytest.mark.xdist_group("printed_commands")  # many are printed twice, and composed once
@pytest.mark.parametrize(
    "path",
    [path if path in READ_FIRST else pytest.param(path, marks=pytest.mark.slow) for path in DOCUMENTS],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_every_command_is_read_by_bash_and_composes(path, tmp_path, own_configs, monkeypatch):
    monkeypatch.syspath_prepend(own_configs.parent)
    monkeypatch.setenv("VESALIUS_ALLOW", "mynets")
    for words in commands_of(text_of(path), tmp_path):
        check_command(words, own_configs)


@pytest.mark.parametrize(
    "command",
    [
        "vesalius train data.train_classes=[healthy]",  # zsh refuses a pattern that matches nothing
        "vesalius train data.source.group_pattern=(P[0-9]+)_",
        "vesalius evaluate run=runs/<date>",
        "vesalius train seed='0",
        "vesalus train",
    ],
)
def test_a_command_that_breaks_when_it_is_pasted_is_refused(command, tmp_path):
    with pytest.raises(AssertionError, match="bash does not take this"):
        words_in_bash(command, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "make tests",
        "pip install vesalius[medial]",
        "vesalius trian",
        "vesalius train --multi",
        "vesalius train -m a=1,2",
    ],
)
def test_a_command_of_something_that_does_not_exist_is_refused(words, own_configs):
    with pytest.raises((AssertionError, HydraException)):
        check_command(words.split(), own_configs)


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_what_python_imports_is_there(path):
    for block in re.findall(r"^```python\n(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE):
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), path.name, "exec"), {})


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.name)
def test_mistakes_shown_are_answered_as_shown(path, tmp_path):
    register_schemas()
    register_resolvers()
    for block in re.findall(r"^```console\n(.*?)^```", text_of(path), re.DOTALL | re.MULTILINE):
        command, _, output = block.removeprefix("$ ").partition("\n")
        ((_, verb, *overrides),) = words_in_bash(command, tmp_path)
        assert [
            f"Error: {problem}" for problem in find_problems(verb, conf_dir(), None, overrides)
        ] == output.splitlines()


def _paths(node, prefix=""):
    if isinstance(node, dict):
        for name, value in node.items():
            yield f"{prefix}{name}"
            yield from _paths(value, f"{prefix}{name}.")


def test_the_reference_lists_every_key_of_every_config():
    pages = "\n".join(hooks.configuration_pages().values())
    for path in conf_dir().rglob("*.yaml"):
        listed = {key.path for key in hooks.keys_of(path.read_text())}
        assert listed == set(_paths(yaml.safe_load(path.read_text()))), path
        part = pages.partition(f"\n{hooks.section_title(path)}\n")[2]
        part = re.split(r"^##", part, maxsplit=1, flags=re.MULTILINE)[0]
        for key in listed - {"defaults"}:
            assert f"{key}` |" in part, (path, key)
        assert hooks.header_of(path.read_text()), path


def test_the_reference_takes_comments_at_the_end_of_a_line_and_below():
    text = "# What it is,\n# in two lines.\na: 1  # first,\n      # and more\nb: {c: '#', d: [x, y]}   # of b\n"
    text += "e:  # of e\n  f: null\n"
    assert hooks.header_of(text) == "What it is, in two lines."
    assert [(key.path, key.value, key.comment) for key in hooks.keys_of(text)] == [
        ("a", "1", "first, and more"),
        ("b", "", "of b"),
        ("b.c", "'#'", ""),
        ("b.d", "[x, y]", ""),
        ("e", "", "of e"),
        ("e.f", "null", ""),
    ]


def test_the_reference_lists_every_option_of_launcher_and_sweeper():
    from dataclasses import fields

    from hydra_plugins.vesalius_launcher.launcher import VesaliusLauncherConf
    from hydra_plugins.vesalius_optuna.sweeper import VesaliusOptunaConf

    page = hooks.configuration_pages()["configuration/jobs.md"]
    for group, conf in {"launcher": VesaliusLauncherConf, "sweeper": VesaliusOptunaConf}.items():
        for field in fields(conf):
            assert field.name.startswith("_") or f"`hydra.{group}.{field.name}`" in page


@pytest.mark.parametrize("page", hooks.api_pages())
def test_the_api_lists_every_public_name_of_a_package(page):
    package = importlib.import_module("vesalius" if page == "api/vesalius.md" else f"vesalius.{page[4:-3]}")
    listed = re.findall(r"heading: (\w+)\n", hooks.api_pages()[page])
    assert sorted(package.__all__) == sorted(listed)
    assert all(hasattr(package, name) for name in listed)


@pytest.mark.parametrize(
    ("page", "loads"),
    [
        ('<script src="https://unpkg.com/mermaid"></script>', 1),
        ('<link rel=stylesheet href="//fonts.googleapis.com/css">', 1),
        ("@font-face{src:url(https://fonts.gstatic.com/a.woff)}", 1),
        ('<img alt="x" src="http://example.org/x.png"><img src="figures/x.png">', 1),
        ('<a href="https://monai.io">MONAI</a><script src="assets/bundle.js"></script>', 0),
    ],
)
def test_a_page_that_loads_from_a_network_is_found(page, loads):
    assert len(hooks.loads_from_a_network(page)) == loads


def test_every_page_is_in_the_navigation():
    listed = (ROOT / "mkdocs.yml").read_text()
    for path in (ROOT / "docs").rglob("*.md"):
        assert path.relative_to(ROOT / "docs").as_posix() in listed
        assert all(block.strip() for block in bash_blocks(text_of(path)))


def _options(group):
    return [path.stem for path in (conf_dir() / group).glob("*.yaml") if not path.stem.startswith("base")]


@pytest.mark.parametrize(
    ("pages", "names"),
    [
        ("evaluation.md", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS, *RECONSTRUCTION_METRICS, *SYNTHESIS_METRICS]),
        ("data/audit.md", CHECKS),
        ("data/index.md", [*_options("data"), *get_args(Task), *_options("data/augment")]),
        ("families/*.md", [name for part in _PARTS for name in _options(f"model{part}")]),
        ("families/*.md", ["youden", "sensitivity@0.95", "specificity@0.95", "attention", "unfreeze_every"]),
        ("sweeps.md", [f"trainer={name}" for name in _options("trainer") if name not in ("auto", "cpu", "ddp_cpu")]),
        ("get-started.md", [f"vesalius {verb}" for verb in VERBS]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_chapter_names_all_that_there_is(pages, names):
    text = "\n".join(path.read_text() for path in (ROOT / "docs").glob(pages))
    code = " ".join(re.findall(r"`([^`]+)`", text.replace("```", "`")))
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)] == []


def test_every_source_has_a_page_with_a_sample_file_tree():
    pages = {path.stem: path.read_text() for path in (ROOT / "docs/data").glob("*.md")}
    for name in _options("data"):
        (page,) = [text for text in pages.values() if re.search(rf"^# .*`{name}`", text, re.MULTILINE)]
        assert "├──" in page or name in ("lesions", "perfusion"), name
