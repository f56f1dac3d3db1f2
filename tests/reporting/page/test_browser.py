"""The report of a small real experiment, looked at in Chromium."""

import csv
import shlex
from itertools import pairwise

import pytest

pytestmark = pytest.mark.slow

SECTIONS = [
    "accuracy",
    "best-so-far",
    "mattered",
    "delimiting-layer",
    "classes",
    "confusion",
    "mistaken",
    "examples",
    "split",
    "calibration",
    "speed",
    "steps",
    "trials",
    "repeats",
    "software",
]
LOCAL = ("file:", "data:", "blob:")
WIDTHS = (390, 820, 1440)  # a phone, a tablet, a laptop
SETTLED = 300  # milliseconds: the charts follow a new width by their own clock
DARKEST, LIGHTEST = 80, 200  # of the page's background, of 255


class Opened:
    """A page with what it complained of and what it asked for."""

    def __init__(self, browser, path, **how):
        self.context = browser.new_context(**how)
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on(
            "console",
            lambda told: (
                self.complaints.append(told.text) if told.type in ("error", "warning") else None
            ),
        )
        self.page.goto(path.as_uri())
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))"
        )

    def check(self):
        """Hold it to no complaint and no request to any network."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(LOCAL)] == []

    def background(self):
        """Return the mean of red, green and blue behind the page."""
        told = self.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in told[4:-1].split(",")) / 3

    def overflow(self):
        """Return how many pixels the page is wider than the screen."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def look(browser, report):
    """Open the report; at the end it is held to no complaint."""
    opened = []

    def open_it(**how):
        opened.append(Opened(browser, report, **how))
        return opened[-1]

    yield open_it
    for one in opened:
        one.check()
        one.context.close()


@pytest.fixture
def page(look):
    return look().page


def column(page, number):
    """Return a column of the table of trials, of the rows that are shown."""
    cells = f".sortable tbody tr:not([hidden]) td:nth-child({number})"
    return [
        text.split()[0] if text.split() else "" for text in page.locator(cells).all_inner_texts()
    ]


def test_every_section_is_there_and_in_the_contents(page):
    assert page.locator("main > section").evaluate_all("all => all.map(s => s.id)") == SECTIONS
    links = page.locator("nav a").evaluate_all("all => all.map(a => a.hash.slice(1))")
    assert links == SECTIONS
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))


def test_what_it_ran_on_is_recorded(page):
    told = page.locator("#software").inner_text()
    assert all(name in told for name in ("Python", "torch", "timm", "device", "seed"))
    assert "not recorded" not in told


def test_the_top_tells_what_was_found(page):
    top = page.locator("header")
    assert "synthetic" in top.inner_text()
    assert top.locator(".card .value").count() == 3
    assert "95 % interval" in top.inner_text()


def test_images_have_words_and_can_be_seen(page):
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    images = page.locator("main img")
    assert images.count() > 10
    assert images.evaluate_all("all => all.every(i => i.alt && i.naturalWidth > 0)")


def test_trials_are_sorted_by_a_column_up_and_down(page):
    button = page.get_by_role("button", name="accuracy", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    values = [float(text) for text in column(page, 4) if text]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, 4) if text] == sorted(values)
    head = page.locator(".sortable th[aria-sort]")
    assert head.count() == 1
    assert head.get_attribute("aria-sort") == "ascending"


def test_trials_are_filtered_by_text_and_by_state(page, experiment):
    with (experiment / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    page.get_by_label("Filter").fill("layers test_")
    expected = [row for row in trials if row["step"] == "layers"]
    assert column(page, 1) == [row["step"] for row in expected]
    assert page.locator(".trials output").inner_text() == f"{len(expected)} of {len(trials)} trials"
    page.get_by_label("Filter").fill("")
    page.get_by_label("State").select_option("COMPLETE")
    assert len(column(page, 1)) == sum(row["state"] == "COMPLETE" for row in trials)


def test_a_cell_of_the_confusion_matrix_opens_its_images(page):
    cell = page.locator(".matrix button").first
    count = int(cell.get_attribute("data-count"))
    cell.click()
    dialog = page.locator("dialog[open]")
    assert dialog.locator("img").count() == min(count, 24)
    assert cell.get_attribute("aria-label") in dialog.inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0
    cell.click()
    page.get_by_role("button", name="Close").click()
    assert page.locator("dialog[open]").count() == 0


def test_the_command_is_copied(look):
    opened = look(permissions=["clipboard-read", "clipboard-write"])
    opened.page.get_by_role("button", name="Copy").click()
    opened.page.get_by_role("button", name="Copied").wait_for()
    copied = shlex.split(opened.page.evaluate("navigator.clipboard.readText()"))
    assert copied[:2] == ["python", "train.py"]
    assert "dataset=phantom" in copied


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_and_the_button(look, scheme):
    opened = look(color_scheme=scheme)
    first = opened.background()
    assert first > LIGHTEST if scheme == "light" else first < DARKEST
    opened.page.locator("#scheme").click()
    second = opened.background()
    assert second < DARKEST if scheme == "light" else second > LIGHTEST
    ink = opened.page.evaluate("getComputedStyle(document.body).color")
    axis = opened.page.locator(".xtick text").first.evaluate("t => getComputedStyle(t).fill")
    assert axis == ink


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(look, screenshots, scheme):
    opened = look(color_scheme=scheme)
    for width in WIDTHS:
        opened.page.set_viewport_size({"width": width, "height": 900})
        opened.page.wait_for_timeout(SETTLED)
        assert opened.overflow() <= 0
        opened.page.screenshot(path=screenshots / f"report-{scheme}-{width}.png", full_page=True)


def test_print_is_light_and_fits_the_paper(look, screenshots):
    opened = look(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    opened.page.emulate_media(media="print", color_scheme="dark")
    opened.page.wait_for_function("() => document.documentElement.dataset.scheme === 'light'")
    assert opened.background() > LIGHTEST
    assert not opened.page.locator("nav").is_visible()
    wide = opened.page.locator(".plot").evaluate_all("all => all.map(p => p.scrollWidth)")
    assert max(wide) <= 720
    opened.page.pdf(path=screenshots / "report.pdf", format="A4")
