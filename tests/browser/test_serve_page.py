"""The page of a served model in a real browser: files are dropped, predictions seen, and nothing else is asked for."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from brightness_model import BrightnessBackend
from contrast import CONTRASTS
from dicom_maker import new_image
from running_server import running
from vesalius.deploy.predictor import Predictor
from vesalius.deploy.serve import Limits, create_app

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]
CARD = "<!doctype html><title>Card</title><style>p { color: red }</style><h1>The card</h1><p>text</p>"
LIMITS = Limits(megabytes=8, files=50, pixels=2**22, frames=64, seconds=60, requests=8)

# Drops files on the page as a person does: their names and bytes.
DROP = """([files]) => {
  const data = new DataTransfer();
  for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name));
  const zone = document.querySelector("#drop");
  for (const type of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data }));
}"""


@pytest.fixture(scope="module")
def pixels():
    rows, columns = np.mgrid[:64, :64]
    return (255 * ((rows - 20) ** 2 + (columns - 40) ** 2 < 100) + rows // 2).clip(0, 255).astype(np.uint8)


@contextmanager
def opened_page(browser, folder, backend=None, width=1280, scheme="light", **options) -> Iterator:
    """The page of a model; afterwards the browser has complained of nothing and asked no other host."""
    app = create_app(
        Predictor(backend or BrightnessBackend((64, 64))),
        LIMITS,
        folder,
        name="brightness",
        **({"card": CARD} | options),
    )
    with running(app) as address:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        complaints, asked = [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.on("filechooser", lambda chooser: None)  # from now on, or a dialog may open before it is caught
        page.goto(address)
        yield page
        expected = ["401", "inline event handler"] if "token" in options else []
        assert [text for text in complaints if not any(status in text for status in expected)] == []
        assert {url for url in asked if not url.startswith((f"{address}/", "data:"))} == set()
        page.close()


def drop(page, files: dict[str, bytes]) -> None:
    page.evaluate(DROP, [[[name, list(content)] for name, content in files.items()]])
    page.wait_for_selector("#status:not(.busy):not(:empty)")


def png(pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def dicom(pixels, **options) -> bytes:
    file = io.BytesIO()
    new_image(pixels, **options).save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_png_and_a_dicom_are_dropped_and_their_predictions_seen(browser, tmp_path, pixels, width):
    bright = pixels.mean() / 255
    with opened_page(browser, tmp_path, width=width) as page:
        assert page.get_by_text("no medical device").is_visible()
        assert page.get_by_role("row", name="AUROC 0.900 0.800 to 0.950 0.500").is_visible()
        assert page.get_by_role("row", name="PPV, prevalence 30.0 % 0.750 0.800 to 0.950").is_visible()
        assert page.get_by_text(
            "bright, where its probability before calibration is above 0.400, chosen by youden"
        ).is_visible()
        for name, content in (("a.png", png(pixels)), ("b.dcm", dicom(pixels, window=(128, 256)))):
            drop(page, {name: content})
            article = page.locator("article")
            assert article.count() == 1
            assert article.locator("h3").inner_text() == name
            assert article.locator(".decision").inner_text() == ("bright" if bright > 0.4 else "dark")
            rows = article.get_by_role("listitem").all_inner_texts()
            assert [row.split() for row in rows] == [
                ["dark", f"{100 * (1 - bright):.1f}", "%"],
                ["bright", f"{100 * bright:.1f}", "%"],
            ]
            track, fill = (article.locator(part).first.bounding_box()["width"] for part in (".track", ".fill"))
            page.wait_for_timeout(500)
            fill = article.locator(".fill").first.bounding_box()["width"]
            assert fill / track == pytest.approx(1 - bright, abs=0.02)
            pictures = article.get_by_role("img").all()
            assert [picture.evaluate("image => image.naturalWidth") for picture in pictures] == [64, 64]
            assert pictures[0].get_attribute("src") != pictures[1].get_attribute("src")
            assert article.locator(".chip").all_inner_texts() == ["dark"]
            assert page.locator("#status").inner_text() == f"{name}: dark."
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_refused_is_shown_with_its_cure_and_the_next_file_is_predicted(browser, tmp_path, pixels):
    with opened_page(browser, tmp_path) as page:
        drop(page, {"a.png": png(pixels), "<img src=x onerror=alert(1)>.png": b"no image"})
        refused = page.locator("article.refused")
        assert "cannot be read as an image" in refused.inner_text()
        assert "replace or delete it" in refused.inner_text()
        assert page.locator("article").count() == 2
        assert page.locator("#status").inner_text() == "1 predicted, 1 refused."


def test_a_series_is_seen_frame_by_frame_with_the_keyboard(browser, tmp_path, pixels):
    with opened_page(browser, tmp_path, BrightnessBackend((64, 64), series=True)) as page:
        drop(page, {f"{number}.png": png(pixels // (number + 1)) for number in range(4)})
        slider = page.get_by_role("slider")
        image = page.get_by_role("img").first
        before = image.bounding_box()["x"]
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("output").inner_text() == "Frame 2 of 4"
        shown = page.locator(".film").first.bounding_box()["width"]
        assert before - image.bounding_box()["x"] == pytest.approx(shown, abs=1)


def test_everything_is_reached_and_used_with_the_keyboard(browser, tmp_path, pixels):
    with opened_page(browser, tmp_path) as page:
        page.get_by_role("row", name="AUROC").wait_for()
        reached = []
        for _ in range(6):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('href')"))
        assert reached == ["#results", "files", "folder", "explain", "open-card", "/openapi.json"]
        page.locator("#open-card").press("Enter")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("heading", name="The card").wait_for()
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        assert page.evaluate("document.activeElement.id") == "open-card"
        page.locator("#files").focus()
        outline = page.locator("label[for=files]").evaluate("element => getComputedStyle(element).outlineStyle")
        assert outline == "solid"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": png(pixels)})
        page.locator("article .decision").wait_for()
        assert page.locator("#status").get_attribute("aria-live") == "polite"
        unnamed = page.locator("input, button, img").evaluate_all(
            "all => all.filter(one => !(one.labels?.length || one.alt || one.ariaLabel || one.textContent)).length"
        )
        assert unnamed == 0


def test_a_token_is_asked_for_and_used(browser, tmp_path, pixels):
    hostile = "<style>p { color: red }</style><script>alert(1)</script><img src=x onerror=alert(2)>"
    card = f"{hostile}<h1>The card</h1><p onclick=alert(3)>text"
    with opened_page(browser, tmp_path, token="correct horse battery", card=card) as page:
        page.get_by_label("This server asks for a token").fill("correct horse battery")
        page.get_by_role("button", name="Use it").click()
        page.get_by_role("row", name="AUROC").wait_for()
        drop(page, {"a.png": png(pixels)})
        assert page.locator("article .decision").inner_text() == "dark"
        page.get_by_role("link", name="The whole model card").press("Enter")
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("heading", name="The card").wait_for()
        assert page.locator("#card-body").inner_html() == "<h1>The card</h1><p>text</p>"
        page.keyboard.press("Escape")
        dialog.wait_for(state="hidden")
        assert dialog.count() == 0
        assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser, tmp_path, pixels, scheme):
    with opened_page(browser, tmp_path, scheme=scheme) as page:
        page.get_by_role("row", name="AUROC").wait_for()
        drop(page, {"a.png": png(pixels), "b.png": b"no image"})
        found = page.evaluate(CONTRASTS)
        assert {"decision", "problem", "chip", "button main", "dim"} <= {kind for _, kind, _ in found}
        assert [one for one in found if one[0] < 4.5] == []
