"""The page in a browser: opened, moved, zoomed, amplified; nothing is loaded, and nothing goes wrong."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_support import judged, timed

from edge_eval.datasets import Sample
from edge_eval.gallery import Gallery
from edge_eval.layer_errors import LayerErrors, NodeError
from edge_eval.report_data import Report, Step
from edge_eval.report_html import report_html
from edge_eval.runner import to_image

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install --group test"
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
ERRORS = {"good.tflite": 1, "bad.tflite": 7}
SIDE = 160
PATIENCE_MS = 90_000
"""On a busy computer a click takes seconds."""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two files and two images, the second of which loses more."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "scratch").mkdir()
    gallery = Gallery(folder / "scratch", artifacts=2, images=2)
    for artifact, error in ERRORS.items():
        look = gallery.collector(artifact)
        for index, name in enumerate(("first", "second")):
            truth = np.random.default_rng(index).integers(20, 200, (SIDE, SIDE, 3), dtype=np.uint8)
            expected = truth.copy()
            expected[100:120, 100:120] += np.uint8(1)
            wrong = expected.copy()
            wrong[40:60, 40:60] += np.uint8(error * (index + 1))
            sample = Sample(name=name, lr=np.ascontiguousarray(truth[::2, ::2]), hr=truth)
            look(sample, to_image(expected), to_image(wrong))
    steps = [
        Step(artifact=name, format="tflite", recipe="fp16", status="OK", size_bytes=1000 * error)
        for name, error in ERRORS.items()
    ]
    nodes = tuple(NodeError(name=name, op="conv2d", relative_error=1e-3) for name in "abc")
    errors = LayerErrors(artifact="q", recipe="w8a8", image="first", input_hw=(8, 8), nodes=nodes)
    report = Report(
        title="net",
        folder=folder,
        steps=tuple(steps),
        quality=tuple(judged(name, 30.0 - error / 10) for name, error in ERRORS.items()),
        latency=tuple(timed(name, 10.0 * error) for name, error in ERRORS.items()),
        pictures=gallery.save(folder / "pictures", root=folder, artifacts=list(ERRORS)),
        layer_errors=(errors,),
    )
    path = folder / "report.html"
    path.write_text(report_html(report), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; the tests are skipped where there is none."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=found, args=list(QUIET))
        yield opened
        opened.close()


class Opened:
    """The page, and what it did that it should not."""

    def __init__(self, page: Any, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._requested(request.url, path))
        page.goto(path.as_uri())

    def _requested(self, url: str, path: Path) -> None:
        if url != path.as_uri() and not url.startswith("data:"):
            self.complaints.append(url)

    def state(self) -> dict[str, str]:
        """What the viewer shows."""
        state: dict[str, str] = self.page.eval_on_selector("#viewer", "e => ({...e.dataset})")
        return state

    def pixels(self, pane: str) -> str:
        """A pane's picture as it is on the screen now."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        text: str = self.page.eval_on_selector(f'[data-pane="{pane}"] canvas', "e => e.toDataURL()")
        return text


@pytest.fixture
def opened(browser: Any, page_file: Path) -> Iterator[Opened]:
    """The page, its viewer ready."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    shown = Opened(context.new_page(), page_file)
    shown.page.wait_for_selector("#viewer[data-ready]")
    yield shown
    context.close()
    assert shown.complaints == []


PANES = ("input", "bicubic", "original", "float", "artifact", "difference")


def test_the_worst_file_on_the_worst_image_is_shown_first(opened: Opened) -> None:
    state = opened.state()
    assert (state["image"], state["artifact"], state["fitted"]) == ("second", "bad.tflite", "true")
    assert all(opened.page.is_visible(f'[data-pane="{pane}"] canvas') for pane in PANES)
    assert len({opened.pixels(pane) for pane in PANES}) == len(PANES)
    assert not opened.page.is_visible(".still img")


def test_wheel_and_drag_move_all_panes_together(opened: Opened) -> None:
    before = {pane: opened.pixels(pane) for pane in PANES}
    canvas = opened.page.locator('[data-pane="bicubic"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.25
    opened.page.mouse.move(x, y)
    for _ in range(5):
        opened.page.mouse.wheel(0, -100)
    opened.page.wait_for_function("document.getElementById('viewer').dataset.fitted === 'false'")
    zoomed = opened.state()
    assert float(zoomed["zoom"]) == pytest.approx(1.25**5 * box["width"] / SIDE, rel=0.01)
    point = float(zoomed["x"]) + 0.75 * box["width"] / float(zoomed["zoom"])
    assert point == pytest.approx(0.75 * SIDE, abs=1), "the point under the wheel stays where it is"
    assert all(opened.pixels(pane) != before[pane] for pane in PANES)

    opened.page.mouse.down()
    opened.page.mouse.move(x - 60, y, steps=3)
    opened.page.mouse.up()
    dragged = opened.state()
    assert float(dragged["x"]) - float(zoomed["x"]) == pytest.approx(60 / float(zoomed["zoom"]), abs=0.5)
    opened.page.mouse.move(x - 90, y)
    assert opened.state()["x"] == dragged["x"], "the drag ended"
    for _ in range(12):
        opened.page.mouse.wheel(0, 100)
    opened.page.wait_for_function("document.getElementById('viewer').dataset.fitted === 'true'")
    assert (opened.state()["x"], opened.state()["y"]) == ("0.00", "0.00")


def test_buttons_and_keys_zoom_and_move(opened: Opened) -> None:
    fitted = float(opened.state()["zoom"])
    opened.page.click("button[data-act=in]")
    assert float(opened.state()["zoom"]) == pytest.approx(fitted * 1.25**2, rel=0.01)
    opened.page.click("button[data-act=four]")
    four = opened.state()
    assert float(four["zoom"]) == max(4.0, fitted)
    opened.page.focus(".panes")
    opened.page.keyboard.press("+")
    zoomed = opened.state()
    assert float(zoomed["zoom"]) > float(four["zoom"])
    opened.page.keyboard.press("ArrowRight")
    opened.page.keyboard.press("ArrowDown")
    moved = opened.state()
    assert float(moved["x"]) > float(zoomed["x"]) and float(moved["y"]) > float(zoomed["y"])
    opened.page.keyboard.press("0")
    assert opened.state()["fitted"] == "true"
    opened.page.keyboard.press("n")
    opened.page.keyboard.press("f")
    assert (opened.state()["image"], opened.state()["artifact"]) == ("first", "good.tflite")


def test_image_and_file_are_chosen(opened: Opened) -> None:
    floats, files = opened.pixels("float"), opened.pixels("artifact")
    opened.page.select_option("#viewer-artifact", "good.tflite")
    assert opened.state()["artifact"] == "good.tflite"
    assert opened.pixels("float") == floats and opened.pixels("artifact") != files
    assert "good.tflite" in opened.page.inner_text('[data-pane="artifact"] figcaption')
    assert "largest 2 of 255" in opened.page.inner_text('[data-pane="difference"] figcaption')
    opened.page.select_option("#viewer-image", "first")
    assert opened.state()["image"] == "first"
    assert opened.pixels("float") != floats
    assert "largest 1 of 255" in opened.page.inner_text('[data-pane="difference"] figcaption')
    assert "first" in opened.page.get_attribute('[data-pane="float"] canvas', "aria-label")


def test_the_difference_is_amplified_as_asked(opened: Opened) -> None:
    assert opened.state()["gain"] == "16", "the largest power of two that keeps 14 levels within 255"
    before, floats = opened.pixels("difference"), opened.pixels("float")
    opened.page.focus("#viewer-gain")
    opened.page.keyboard.press("Home")
    assert opened.state()["gain"] == "1"
    assert opened.pixels("difference") != before and opened.pixels("float") == floats
    assert opened.page.input_value("#viewer-gain") == "0"
    opened.page.select_option("#viewer-image", "first")
    assert opened.state()["gain"] == "1", "what the reader chose stays"


def test_pixels_are_read_out(opened: Opened) -> None:
    hint = opened.page.inner_text(".readout")
    canvas = opened.page.locator('[data-pane="float"] canvas')
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    top, left = (
        int(part) for part in opened.page.evaluate("JSON.parse(scenes.textContent)[0].crop.slice(0, 2)")
    )
    across = opened.page.evaluate("JSON.parse(scenes.textContent)[0].crop[3]")
    step = box["width"] / across
    opened.page.mouse.move(box["x"] + (50.5 - left) * step, box["y"] + (50.5 - top) * step)
    text = opened.page.inner_text(".readout")
    truth = np.random.default_rng(1).integers(20, 200, (SIDE, SIDE, 3), dtype=np.uint8)[50, 50]
    assert text.startswith(f"column 50, row 50 · float {' '.join(map(str, truth))} · file ")
    assert text.endswith("difference 14 14 14")
    opened.page.mouse.move(1, 1)
    assert opened.page.inner_text(".readout") == hint


def test_a_narrower_window_keeps_the_whole_picture_in_view(opened: Opened) -> None:
    wide = float(opened.state()["zoom"])
    opened.page.set_viewport_size({"width": 420, "height": 800})
    opened.page.wait_for_function(f"Number(document.getElementById('viewer').dataset.zoom) < {wide}")
    assert opened.state()["fitted"] == "true"
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.page.evaluate(overflow) <= 0


def test_without_a_script_pictures_plots_and_tables_are_there(browser: Any, page_file: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = Opened(context.new_page(), page_file)
    assert shown.page.locator(".still img").count() == 2 * (4 + len(ERRORS))
    assert shown.page.is_visible(".still img") and not shown.page.is_visible(".viewer")
    assert shown.page.locator(".plot svg").count() == 4
    assert shown.page.is_visible("table.artifacts")
    context.close()
    assert shown.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_plots_take_the_page_s_colours(browser: Any, page_file: Path, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme)
    shown = Opened(context.new_page(), page_file)
    colours = "e => [getComputedStyle(e).fill, getComputedStyle(document.body).color]"
    label = shown.page.locator(".plot svg text", has_text="fp16 TFLite").first
    fill, ink = label.evaluate(colours)
    assert fill == ink == {"light": "rgb(23, 27, 34)", "dark": "rgb(232, 235, 241)"}[scheme]
    context.close()


def test_everything_that_is_seen_has_words(opened: Opened) -> None:
    silent = (
        "e => [...document.querySelectorAll('img, canvas, [role=img]')].filter(e => !(e.alt || e.ariaLabel))"
    )
    assert opened.page.evaluate(f"({silent})().length") == 0
    unnamed = "[...document.querySelectorAll('select, input')].filter(e => !e.labels.length).length"
    assert opened.page.evaluate(unnamed) == 0
    ids = opened.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
