"""The report in a real browser: it renders, sorts, filters and answers to the pointer, and asks the network nothing."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from contrast import CONTRASTS
from report_maker import write_sweep
from vesalius.commands.report import write_report
from vesalius.terminal import command_console

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),  # it is started once
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    sweep = write_sweep(tmp_path_factory.mktemp("runs") / "three-models")
    (sweep / "3/figures").mkdir()
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(sweep / "3/figures/test_images.png")
    write_report(sweep, images=True, console=command_console())
    return sweep / "report.html"


@pytest.fixture
def page(browser, path):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    message, asked = [], []
    opened.on("console", lambda message: message.append(message.text))
    opened.on("pageerror", lambda error: message.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    assert message == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    opened.close()


def _column(page, head: str) -> list[str]:
    at = page.locator("#board-0 thead th").all_inner_texts().index(head)
    return page.locator(f"#board-0 tbody tr:visible td:nth-child({at + 1})").all_inner_texts()


def test_a_click_on_a_column_sorts_by_it_and_another_turns_it_round(page):
    head = page.locator("#board-0 thead th", has_text="auroc").nth(1)
    assert head.inner_text() == "auroc"
    values = [float(text.split()[0]) for text in _column(page, "auroc")]
    assert values != sorted(values, reverse=True)
    head.click()
    assert [float(text.split()[0]) for text in _column(page, "auroc")] == sorted(values, reverse=True)
    button = head.get_by_role("button", name="auroc")
    button.press("Enter")
    assert [float(text.split()[0]) for text in _column(page, "auroc")] == sorted(values)
    button.press("Space")
    assert [float(text.split()[0]) for text in _column(page, "auroc")] == sorted(values, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    page.locator("#board-0 thead th", has_text="model").click()
    assert _column(page, "model") == ["cnn"] * 3 + ["resnet18"] * 3 + ["vgg16"] * 3


def test_the_filter_hides_rows(page):
    page.locator("input[type=search]").fill("resnet18 done")
    assert _column(page, "model") == ["resnet18"] * 3
    assert page.locator("[data-count=board-0]").inner_text() == "3 of 9"
    page.locator("input[type=search]").fill("nothing like it")
    assert _column(page, "model") == []


def test_hovering_a_curve_tells_run_epoch_and_value(page):
    chart = page.locator("svg[data-chart=curve-0-0]")
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
    run, values = page.locator("#tip").inner_text().split("\n")
    assert run in set("012345678")
    assert values.startswith("epoch ")
    assert "val/auroc " in values
    epoch, value = (float(part.split()[-1]) for part in values.split(", "))
    known = page.evaluate("report.charts['curve-0-0'].series")[int(run)]
    assert known["y"][known["x"].index(epoch)] == value
    page.mouse.move(2, 2)
    assert page.locator("#tip").is_hidden()


def test_the_legend_hides_an_arm(page):
    chart = page.locator("svg[data-chart=curve-0-0]")
    shown = chart.locator(".series:visible").count()
    page.locator("[data-legend=curve-0-0]", has_text="resnet18").click()
    assert chart.locator(".series:visible").count() == shown - 3
    page.locator("[data-legend=curve-0-0]", has_text="resnet18").click()
    assert chart.locator(".series:visible").count() == shown


def test_a_run_opens_and_its_cells_answer(page):
    page.locator("#board-0 a", has_text="3").click()
    run = page.locator("details[open]")
    run.wait_for()  # the browser announces the new address after the click has ended
    assert run.count() == 1
    assert run.locator("summary b").inner_text() == "3"
    cell = run.locator(".matrix td[data-tip]").first
    cell.hover()
    assert page.locator("#tip").inner_text().startswith("true healthy, healthy: ")
    assert run.locator("img").evaluate("image => image.naturalWidth") == 80


def test_tips_and_charts_answer_to_the_keyboard(page):
    cell = page.locator("#arms-0 td[data-tip]").first
    cell.focus()
    assert page.locator("#tip").inner_text() == cell.get_attribute("data-tip")
    chart = page.locator("svg[data-chart=curve-0-0]")
    chart.focus()
    known = page.evaluate("report.charts['curve-0-0'].series")
    for key, series, point in (("ArrowRight", 0, 0), ("ArrowRight", 0, 1), ("ArrowDown", 1, 1), ("ArrowLeft", 1, 0)):
        page.keyboard.press(key)
        run, values = page.locator("#tip").inner_text().split("\n")
        assert run == known[series]["name"]
        assert values == f"epoch {known[series]['x'][point]}, val/auroc {known[series]['y'][point]}"
    chart.blur()
    assert page.locator("#tip").is_hidden()


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_all_text_can_be_read(browser, tmp_path, scheme):
    sweep = write_sweep(tmp_path / "sweep", models={f"m{at}": 0.5 * at for at in range(9)}, seeds=1)
    for name, state in enumerate(("failed", "interrupted", "pruned", "running")):
        content = json.dumps({"state": state, "reason": "because"})
        (sweep / str(name) / "state.json").write_text(content)
    # A matrix with shares of every shade.
    shares = [at / 20 for at in range(21)]
    write_report(sweep, images=True, console=command_console())
    opened = browser.new_page(color_scheme=scheme)
    opened.goto((sweep / "report.html").as_uri())
    opened.evaluate("for (const run of document.querySelectorAll('details')) run.open = true")
    opened.evaluate(
        """(shares) => {
          const cells = [...document.querySelectorAll(".matrix td[data-tip]")];
          shares.forEach((share, at) => cells[at % cells.length].after(
            Object.assign(cells[at % cells.length].cloneNode(true), { style: `--share: ${share}` })));
        }""",
        shares,
    )
    found = opened.evaluate(CONTRASTS)
    assert {"state done", "state failed", "state pruned", "state interrupted", "other"} <= {
        kind for _, kind, _ in found
    }
    assert [one for one in found if one[0] < 4.5] == []
    opened.close()


def test_labels_of_an_axis_stand_apart(browser, tmp_path):
    sweep = write_sweep(tmp_path / "sweep", models={"cnn": 0.8}, seeds=1)
    history = pd.read_csv(sweep / "0/history.csv")
    history["val/loss"] = np.linspace(0.002460, 0.002469, len(history))
    history.to_csv(sweep / "0/history.csv", index=False)
    write_report(sweep, images=True, console=command_console())
    opened = browser.new_page()
    opened.goto((sweep / "report.html").as_uri())
    gaps = opened.evaluate(
        """() => [...document.querySelectorAll("svg.chart")].map((svg) => {
          const label = svg.querySelector(".label[transform]").getBoundingClientRect();
          const ticks = [...svg.querySelectorAll(".tick[text-anchor=end]")];
          return Math.min(...ticks.map((tick) => tick.getBoundingClientRect().left)) - label.right;
        })"""
    )
    assert gaps
    assert min(gaps) > 0
    opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(800, "light"), (1400, "dark")])
def test_the_page_itself_never_scrolls_sideways(browser, path, width, scheme):
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.goto(path.as_uri())
    opened.evaluate("for (const run of document.querySelectorAll('details')) run.open = true")
    assert opened.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    ink, ground = (opened.evaluate(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    light = [sum(map(int, colour[4:-1].split(","))) > 384 for colour in (ink, ground)]
    assert light == ([False, True] if scheme == "light" else [True, False])
    opened.close()


def test_it_is_readable_without_scripts(browser, path):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(path.as_uri())
    assert opened.locator("#board-0 tbody tr").count() == 9
    assert opened.locator("svg.chart path").first.is_visible()
    context.close()
