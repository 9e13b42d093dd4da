"""The text of the project uses the field's words: what a reader would have to learn first is not used.

Each entry of `WORDS` is a pattern and what to write in its place. `EXCEPTIONS` lists the places where a word is right.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_PATTERNS = (
    "src/**/*.py",
    "src/**/*.j2",
    "src/**/*.js",
    "src/**/*.css",
    "conf/**/*.yaml",
    "docs/**/*.md",
    "docs/**/*.py",
)
FILES = sorted(
    path
    for pattern in (*_PATTERNS, "notebooks/*.ipynb", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")
    for path in ROOT.glob(pattern)
)

# Words as parts of identifiers count too: `_` is a boundary here.
_A, _Z = r"(?<![A-Za-z])", r"(?![A-Za-z])"
WORDS = {
    rf"{_A}told{_Z}": "conditional, format_..., logged, reported",
    rf"{_A}(said|says){_Z}": "logged, message, reports, states",
    rf"{_A}made{_Z}": "synthetic, computed, created, built, drawn",
    rf"{_A}judg(e|es|ed|ing|ement|ments?){_Z}": "evaluate, score, compare",
    rf"{_A}evidence{_Z}": "ablation",
    rf"{_A}answer(s|ed)?{_Z}": "output, prediction, reply",
    rf"{_A}alone{_Z}": "only",
    rf"{_A}beside{_Z}": "next to, with, besides",
    rf"{_A}anew{_Z}": "again",
    rf"{_A}look(s|ed|ing)?[ _](\w+[ _])?(over|at){_Z}": "audit, inspect, read, see",
    rf"{_A}(that|which) (is|are) none{_Z}": "non-finite, invalid",
    # "a row an epoch": a noun, then "a" in place of "per"
    r"\b(a|an|one|each|every) (?!(with|in|of|from|by|as|to|for|is|has|at|on|and|or|than|over|like|into|not|was|one)\b)"
    r"[a-z]+ an? (epoch|run|job|arm|patient|sample|image|series|class|verb|step|kind|split|file|folder|fold|rank|"
    r"repeat|group|seed|row|column|metric|frame|study|device|trial|line|table|set|source)\b": "one ... per ...",
    rf"{_A}quantit(y|ies){_Z}": "continuous targets",
    rf"{_A}floors?{_Z}": "no-skill value",
    rf"{_A}unseen{_Z}": "data_overlap, new",
    rf"{_A}(?-i:Passport|EqualRanks|LastStep|Generators){_Z}": "CheckpointMetadata, RankConsistency, ..., RngState",
    rf"{_A}(as_one|waits_with_parameters|unfit|to_learn_from|take_over|settle|last_step|look_over){_Z}": "see HOUSE 2",
}

#: (file, pattern of the line, why the word is right there)
EXCEPTIONS: list[tuple[str, str, str]] = [
    ("*", r"(torch|np|math)\.floor|\.floor\(", "the function"),
    ("*", r"def connection_made\(|\.connection_made\(", "the method of asyncio"),
    ("*", r"[\"'`]evidence[\"'`/]|evidence/", "the key of metrics.json, a file format"),
    ("*", r"[Nn]o evidence of a gain", "the verdict on a difference, as statistics puts it"),
    ("src/vesalius/deploy/dicom/report.py", r"evidence=", "the parameter of the library, DICOM's word"),
    ("*", r"evaluation\.evidence\b|^ *evidence: |evidence_classes", "keys of the config and of metrics.json"),
]


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    if path.suffix != ".ipynb":
        yield from enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        return
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], 1):
        yield from ((number, line) for line in "".join(cell["source"]).splitlines())


def excepted(path: Path, line: str) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return any(
        (where == "*" or Path(name).match(where)) and re.search(pattern, line) for where, pattern, _ in EXCEPTIONS
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_text_uses_the_words_of_the_field(path: Path) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group(0)!r} ({cure}): {line.strip()[:110]}"
        for number, line in lines_of(path)
        for pattern, cure in WORDS.items()
        if (match := re.search(pattern, line, re.IGNORECASE)) and not excepted(path, line)
    ]
    assert not found, "\n" + "\n".join(found)


def test_every_exception_is_needed() -> None:
    """An exception that no line needs any more leaves the list."""
    texts = {path: list(lines_of(path)) for path in FILES}
    for where, pattern, why in EXCEPTIONS:
        assert why
        assert any(
            (where == "*" or path.match(where)) and re.search(pattern, line)
            for path, lines in texts.items()
            for _, line in lines
        ), f"{where}: {pattern}"
