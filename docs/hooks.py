"""What `make docs` does besides Markdown: pages written from the code and from `conf/`, and a check of the pages.

* The configuration reference lists every key of `conf/`, with its default and the comment that stands next to it.
* The Python API lists every public name of each package; mkdocstrings fills in the docstrings.
* A page that would load anything from a network is refused: who reads the documentation stays private.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
PACKAGE = ROOT / "src" / "vesalius"
PLUGINS = ROOT / "src" / "hydra_plugins"

#: Pages of the configuration reference: file name, title, and the groups on it; `.` stands for the primary configs.
CONFIGURATION_PAGES = (
    ("verbs", "Verbs", (".",)),
    ("data", "Data", ("data", "data/augment", "datamodule")),
    (
        "model",
        "Models",
        (
            "model",
            "model/encoder",
            "model/decoder",
            "model/generator",
            "model/critic",
            "model/schedule",
            "monitor",
        ),
    ),
    ("training", "Training and tracking", ("trainer", "callbacks", "logger")),
    ("experiments", "Experiments, searches, studies", ("experiment", "hparams_search", "sweep", "study")),
    ("jobs", "Jobs and searches (hydra.launcher, hydra.sweeper)", ()),
)
#: Where the options of a group go, if that is not the group's own name.
_PACKAGES = {".": "", "datamodule": "data"}
_GLOBAL = "# @package _global_"


@dataclass(frozen=True)
class Key:
    """A key of a YAML file.

    Attributes:
        path: from the file's root, with dots.
        value: as it is written; empty where further keys are below it.
        comment: what stands next to it.
    """

    path: str
    value: str
    comment: str


# ---------------------------------------------------------------- configuration reference


def configuration_pages() -> dict[str, str]:
    """Markdown of the configuration reference, by path below `docs/`.

    Raises:
        ValueError: where a group of `conf/` is on no page.
    """
    groups = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml")}
    placed = {group for _, _, on_page in CONFIGURATION_PAGES for group in on_page}
    if groups - placed:
        raise ValueError(f"docs/hooks.py: no page lists the config group(s) {', '.join(sorted(groups - placed))}.")
    pages = {}
    for name, title, on_page in CONFIGURATION_PAGES:
        parts = [f"# {title}\n", *(_group_section(group) for group in on_page if group in groups)]
        if name == "jobs":
            parts += [_plugin_section(path) for path in sorted(PLUGINS.glob("*/[!_]*.py"))]
        pages[f"configuration/{name}.md"] = "\n".join(parts)
    return pages


def _group_section(group: str) -> str:
    files = sorted((CONF / group).glob("*.yaml"))
    title = "" if group == "." else f"## `{group}=`\n\n"
    return title + "\n".join(_file_section(path, group) for path in files)


def _file_section(path: Path, group: str) -> str:
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    package = "" if first == _GLOBAL else _PACKAGES.get(group, group.replace("/", "."))
    lines = [section_title(path), "", _cell(header_of(text)), ""]
    rows = [key for key in keys_of(text) if key.path != "defaults"]
    if defaults := yaml.safe_load(text).get("defaults"):
        lines += [f"Composed from (`defaults`): {', '.join(f'`{_entry(entry)}`' for entry in defaults)}.", ""]
    if rows:
        lines += ["| key | default | |", "|---|---|---|"]
        for key in rows:
            value = "" if key.value == "" else f"`{_cell(key.value)}`"
            lines.append(f"| `{'.'.join(filter(None, (package, key.path)))}` | {value} | {_cell(key.comment)} |")
    return "\n".join([*lines, ""])


def section_title(path: Path) -> str:
    """The heading of a file's keys."""
    group = path.parent.relative_to(CONF).as_posix()
    return f"## `vesalius {path.stem}`" if group == "." else f"### `{group}={path.stem}`"


def _entry(entry: Any) -> str:
    return ", ".join(f"{group}: {option}" for group, option in entry.items()) if isinstance(entry, dict) else str(entry)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")


def header_of(text: str) -> str:
    """The comment lines that a file begins with, as one paragraph."""
    lines = text.removeprefix(_GLOBAL).lstrip("\n").splitlines()
    header = []
    for line in lines:
        if not line.startswith("#"):
            break
        header.append(line.lstrip("# "))
    return " ".join(header)


def keys_of(text: str) -> list[Key]:
    """Every key of a YAML file, in its order, with its value as written and its comment."""
    root = yaml.compose(text)
    lines = text.splitlines()
    return list(_keys(root, lines, "")) if isinstance(root, yaml.MappingNode) else []


def _keys(mapping: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[Key]:
    for name, value in mapping.value:
        path = f"{prefix}{name.value}"
        nested = isinstance(value, yaml.MappingNode) and bool(value.value)
        on_one_line = value.flow_style if isinstance(value, yaml.CollectionNode) else value.style not in ("|", ">")
        end = value.end_mark if on_one_line else name.end_mark
        row, column = end.line, end.column + (not on_one_line)  # behind the value, or behind the key's colon
        yield Key(path, "" if nested else _written(value), _comment(lines, row, column))
        if nested:
            yield from _keys(value, lines, f"{path}.")


def _written(value: yaml.Node) -> str:
    if isinstance(value, yaml.ScalarNode) and "\n" not in value.value:
        return value.value if value.style is None else f"{value.style}{value.value}{value.style}"
    if isinstance(value, yaml.SequenceNode):
        return f"[{', '.join(map(_written, value.value))}]"
    return "{}" if isinstance(value, yaml.MappingNode) else "text"


def _comment(lines: list[str], row: int, column: int) -> str:
    """The comment at the end of a line, and the comment lines below it that begin in the same column."""
    rest = lines[row][column:]
    if not rest.lstrip().startswith("#"):
        return ""
    start = column + rest.index("#")
    parts = [lines[row][start:]]
    for line in lines[row + 1 :]:
        if not line.strip().startswith("#") or line.index("#") != start:
            break
        parts.append(line.strip())
    return " ".join(part.lstrip("# ") for part in parts)


def _plugin_section(path: Path) -> str:
    """The options of a launcher or sweeper, from the dataclass that declares them."""
    conf = next(node for node in _classes(path) if node.name.endswith("Conf"))
    group = "hydra.launcher" if "launcher" in path.parent.name else "hydra.sweeper"
    described = _attributes(ast.get_docstring(conf) or "")
    lines = [f"## `{group}`", "", "| key | default | |", "|---|---|---|"]
    for field in conf.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id in described:
            name, default = field.target.id, _default(field.value)
            lines.append(f"| `{group}.{name}` | `{default}` | {_cell(described[name])} |")
    return "\n".join([*lines, ""])


def _classes(path: Path) -> list[ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _attributes(docstring: str) -> dict[str, str]:
    section = docstring.partition("Attributes:\n")[2]
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()) for name, text in entries}


def _default(value: ast.expr | None) -> str:
    if isinstance(value, ast.Constant):
        return {None: "null", True: "true", False: "false"}.get(value.value, str(value.value))
    factory = ast.unparse(value) if value is not None else ""
    return {"field(default_factory=dict)": "{}", "field(default_factory=list)": "[]"}.get(factory, factory)


# ---------------------------------------------------------------- Python API


def api_pages() -> dict[str, str]:
    """Markdown of the Python API, by path below `docs/`: one page per package that has public names."""
    pages = {}
    for init in sorted(PACKAGE.rglob("__init__.py")):
        tree = ast.parse(init.read_text(encoding="utf-8"))
        package = ".".join(init.parent.relative_to(PACKAGE.parent).parts)
        if names := public_names(tree, package):
            parts = [f"# {package}\n", (ast.get_docstring(tree) or "") + "\n"]
            for name, module in sorted(names.items()):
                # The package's name is the one to import from; the module may change.
                parts.append(f"::: {module}.{name}\n    options:\n      heading: {name}\n      toc_label: {name}\n")
            pages[f"api/{package.removeprefix('vesalius').strip('.') or 'vesalius'}.md"] = "\n".join(parts)
    return pages


def public_names(tree: ast.Module, package: str) -> dict[str, str]:
    """The names that a package re-exports, lazily or not, and the module that defines each."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "submod_attrs":
            for module, attributes in ast.literal_eval(node.value).items():
                names |= {name: f"{package}.{module}" for name in attributes}
    exported = next((ast.literal_eval(value) for name, value in _assigned(tree) if name == "__all__"), [])
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.name: node.module for alias in node.names if alias.name in exported}
    return names


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


# ---------------------------------------------------------------- what pages load

_LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\ssrc\s*=\s*["']?(?:https?:)?//[^\s"'>]+"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*?\shref\s*=\s*["']?(?:https?:)?//[^\s"'>]+"""
    r"""|url\(\s*["']?(?:https?:)?//[^\s"')]+|@import\s+["'](?:https?:)?//[^\s"']+""",
    re.IGNORECASE,
)


def loads_from_a_network(text: str) -> list[str]:
    """What a page or stylesheet would load from elsewhere: scripts, images, styles, fonts. Links are none of these."""
    return [match.group(0)[:200] for match in _LOADS.finditer(text)]


# ---------------------------------------------------------------- what mkdocs calls


def on_config(config: Any) -> Any:
    """Put the generated pages into the navigation."""
    for section in config.nav:
        if isinstance(section, dict) and "Configuration" in section:
            section["Configuration"] += [{title: f"configuration/{name}.md"} for name, title, _ in CONFIGURATION_PAGES]
        if isinstance(section, dict) and "Python API" in section:
            section["Python API"] += [{_module_title(path): path} for path in api_pages()]
    return config


def _module_title(path: str) -> str:
    name = Path(path).stem
    return "vesalius" if name == "vesalius" else f"vesalius.{name}"


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    pages: Mapping[str, str] = configuration_pages() | api_pages()
    for path, markdown in pages.items():
        files.append(File.generated(config, path, content=markdown))
    return files


def on_post_build(config: Any) -> None:
    """Refuse a site that loads anything from a network."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    found = [
        f"{path.relative_to(site)}: {load}"
        for path in sorted(site.rglob("*"))
        if path.suffix in (".html", ".css")
        for load in loads_from_a_network(path.read_text(encoding="utf-8"))
    ]
    if found:
        raise PluginError("Pages may load nothing from a network: copy it into docs/.\n" + "\n".join(found))
