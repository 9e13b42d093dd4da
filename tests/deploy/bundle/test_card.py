"""The model card holds every number of the run, and no text of the user's becomes markup."""

import json
import re
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

from vesalius.deploy.bundle.card.tables import Table, result_tables
from vesalius.deploy.bundle.requirements import DECODERS, OPTIONAL, RUNTIME, SERVER
from vesalius.metrics.formatting import format_metric

pytestmark = pytest.mark.xdist_group("bundle")


def entries(node: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict) and {"value", "ci95"} <= node.keys():
        yield name, node
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from entries(child, key)


class Texts(HTMLParser):
    """The cells of a page, and the names of its tags."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_every_number_stands_in_the_card_with_its_interval(cnn_bundle) -> None:
    metrics = json.loads((cnn_bundle / "metrics.json").read_text())
    page = Texts()
    page.feed((cnn_bundle / "model_card.html").read_text())
    markdown = (cnn_bundle / "model_card.md").read_text()
    found = list(entries(metrics))
    assert len(found) > 40
    for name, entry in found:
        assert name in page.texts
        assert f"| {name} | {format_metric(entry)} |" in markdown
    headings = re.findall(r"^## (.*)$", markdown, re.M)
    assert headings == [
        *("Intended use", "Limits", "Model", "Input", "Decision", "Data", "Results", "Not tested", "Origin")
    ]
    assert all(heading in page.texts for heading in headings)


def test_curves_have_a_row_for_each_point_with_its_band() -> None:
    band = {"value": [0.5, None], "low": [0.4, None], "high": [0.6, None]}
    single = {"value": 0.2, "ci95": [0.1, 0.3], "n": 7, "groups": 5, "method": "Wilson", "no_skill": 0.01}
    metrics = {
        "decision_curve": {"sick": {"thresholds": [0.1, 0.25], "model": band, "useful": [[0.1, 0.2]], "n": 7}},
        "two_sample": single,
        "test": {"auroc": single},
        "reference": {"n": 3, "quantiles": {"x": [1.0, 2.0]}},
    }
    tables = dict(result_tables(metrics))
    assert list(tables) == ["test", "decision_curve / sick", "two_sample"]
    assert tables["decision_curve / sick"] == Table(
        ["thresholds", "model"], [(".100", ".500 [.400,.600]"), (".250", "–")]
    )
    assert tables["two_sample"].rows[0][:2] == ["two_sample", ".200 [.100,.300]"]


def test_texts_of_the_user_are_no_markup_and_the_page_loads_nothing(cnn_bundle) -> None:
    html, markdown = ((cnn_bundle / f"model_card.{ending}").read_text() for ending in ("html", "md"))
    page = Texts()
    page.feed(html)
    assert "Tests | of <b>this</b> project." in page.texts
    assert not {"b", "script", "img", "link", "iframe"} & page.tags
    assert "http" not in html.replace("http-equiv", "")
    assert "Tests \\| of &lt;b>this&lt;/b> project." in markdown


def test_lower_bounds_are_those_of_the_project(request) -> None:
    project = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)}
    assert {*RUNTIME, *DECODERS, *SERVER, *OPTIONAL} <= known
