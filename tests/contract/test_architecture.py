"""The house: no circle of imports, no crowded folder, no file that is longer than a reader's patience."""

from pathlib import Path

import grimp

SRC = Path(__file__).parents[2] / "src"
ROOTS = ("vesalius", "hydra_plugins.vesalius_launcher", "hydra_plugins.vesalius_optuna")
MOST_LINES, MOST_FILES = 350, 16


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports for type checkers and those inside functions count too."""
    graph = grimp.build_graph(*ROOTS, cache_dir=None, exclude_type_checking_imports=False)
    circles = set()
    for module in sorted(graph.modules):
        for imported in graph.find_modules_directly_imported_by(module):
            back = graph.find_shortest_chain(imported, module)
            if back is not None:
                circles.add(" -> ".join((module, *back)))
    assert not circles, "\n".join(sorted(circles))


def test_no_folder_is_crowded() -> None:
    folders = {path.parent for path in SRC.rglob("*.py")}
    files = {folder: [path for path in folder.glob("*.py") if path.name != "__init__.py"] for folder in folders}
    crowded = {str(folder.relative_to(SRC)): len(found) for folder, found in files.items() if len(found) > MOST_FILES}
    assert not crowded


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SRC.rglob("*.py")}
    assert not {str(path.relative_to(SRC)): lines for path, lines in lengths.items() if lines > MOST_LINES}
