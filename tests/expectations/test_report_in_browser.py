"""The report in a real browser: no request leaves, nothing jumps, it can be read and operated."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

from benchmarks.report import made_up
from expectations.report import write_report
from warehouse.settings import Settings

ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
SHIFT = """() => new Promise((told) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => told(sum), 250);
})"""
# Every text with what it is painted on, as WCAG reckons contrast; those below the bar.
TOO_PALE = """(bar) => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = parts(getComputedStyle(element).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    throw new Error("nothing is painted behind");
  };
  const found = {};
  let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [front, back] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    seen += 1;
    if (ratio < bar) found[element.className + " " + walk.currentNode.data.trim()] = ratio;
  }
  return [seen, found];
}"""


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A report with something of every kind, after another, in a home that was moved since."""
    place = tmp_path_factory.mktemp("report")
    settings = Settings(place / "first", threads=1, memory_limit="500MiB")
    write_report(settings, made_up(seed=7, tables=30, rules=12, run_id="run-1"))
    write_report(settings, made_up(seed=8, tables=30, rules=12, run_id="run-2"))
    settings.home.rename(place / "moved")
    return place / "moved" / "reports" / "latest"


@pytest.fixture
def opened(browser, folder):
    """Opens a page of the report; its requests and its complaints are asserted afterwards."""

    @contextmanager
    def open_page(name="index.html", *, viewport=DESKTOP, scheme="light", script=True):
        context = browser.new_context(
            viewport=viewport, color_scheme=scheme, java_script_enabled=script
        )
        requests, complaints = [], []
        page = context.new_page()
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((folder / name).as_uri())
        yield page
        context.close()
        assert requests
        assert all(url.startswith(("file://", "data:,")) for url in requests), requests
        assert complaints == []

    return open_page


@pytest.fixture(scope="module")
def table(folder):
    """The heaviest table's page: with broken rules, trends and missing data."""
    pages = [page for page in (folder / "tables").iterdir() if "imputations" in page.read_text()]
    return f"tables/{max(pages, key=lambda page: page.stat().st_size).name}"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_request_leaves_and_nothing_jumps(opened, table, viewport):
    for name in ("index.html", table):
        with opened(name, viewport=viewport) as page:
            assert page.evaluate(SHIFT) == 0
            styled = page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius")
            assert styled == "10px"  # the style sheet was let in


def test_the_phones_page_is_not_wider_than_the_phone(opened, table):
    for name in ("index.html", table):
        with opened(name, viewport=PHONE) as page:
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_whatever_is_pressed_on_the_phone_is_24_px_high(opened, table):
    """As WCAG 2.2 asks for the size of targets."""
    for name in ("index.html", table):
        with opened(name, viewport=PHONE) as page:
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
            heights = page.evaluate(
                """[...document.querySelectorAll("a, summary, input")].filter(
                (found) => found.checkVisibility()).map((found) => [found.textContent.trim(),
                Math.min(...[...found.getClientRects()].map((line) => line.height))])"""
            )
            assert len(heights) > 5
            assert [(text, height) for text, height in heights if height < 24] == []


def test_the_phones_shares_of_missing_data_say_of_what_they_are(opened):
    with opened(viewport=PHONE) as page:
        labels = page.evaluate(
            """[...document.querySelectorAll("[aria-labelledby=missing] td")].map(
            (cell) => getComputedStyle(cell, "::before").content)"""
        )
        assert {label.strip('"') for label in labels} == {
            "Most is missing of:",
            "Dropping incomplete rows would cost:",
        }


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_told_from_what_is_behind_it(opened, table, scheme):
    for name in ("index.html", table):
        with opened(name, scheme=scheme) as page:
            page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
            seen, too_pale = page.evaluate(TOO_PALE, 4.5)
            assert seen > 200
            assert too_pale == {}


def test_dark_is_dark_and_light_is_light(opened):
    for scheme, back in (("light", "rgb(245, 246, 248)"), ("dark", "rgb(17, 21, 26)")):
        with opened(scheme=scheme) as page:
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == back


def test_the_keyboard_skips_to_what_is_broken(opened):
    with opened() as page:
        page.keyboard.press("Tab")
        assert page.locator(".skip:focus").bounding_box()["x"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "broken"


def test_the_keyboard_opens_and_closes(opened):
    with opened() as page:
        closed = page.locator("details:not([open]) > summary").first
        closed.focus()
        page.keyboard.press("Enter")
        folded = "document.activeElement.parentElement.open"
        assert page.evaluate(folded)
        page.keyboard.press("Enter")
        assert not page.evaluate(folded)


def test_the_filter_shows_the_tables_that_are_meant(opened):
    with opened() as page:
        rows = page.locator("#table-list > tr")
        shown = page.locator("#table-list > tr:visible")
        assert (rows.count(), shown.count()) == (30, 30)
        page.locator("#find").focus()
        page.keyboard.type("ORDERS fct")
        names = shown.locator("th").all_inner_texts()
        assert names
        assert all("fct_orders" in name for name in names)
        assert page.locator("#find-told").inner_text() == f"{len(names)} of 30"
        page.locator("#find").fill("")
        assert shown.count() == 30


def test_without_scripts_all_tables_are_there_and_no_filter_that_does_nothing(opened):
    with opened(script=False) as page:
        assert page.locator("#table-list > tr:visible").count() == 30
        assert not page.locator("#find").is_visible()


def test_links_lead_to_the_tables_and_back(opened):
    with opened() as page:
        name = page.locator("#table-list a").first.inner_text()
        page.locator("#table-list a").first.click()
        assert page.locator("h1").inner_text() == name
        page.get_by_role("link", name="All tables").click()
        assert page.locator("#table-list").count() == 1
