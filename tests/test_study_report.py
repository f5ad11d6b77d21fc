"""The page: it loads nothing, is well-formed, says what was measured, and fits a telephone."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from convscape.study.config import Config
from convscape.study.environment import environment
from convscape.study.report import SOURCES, render
from convscape.study.summary import summarise
from tests.study_support import record

CONFIG = Config(seeds=2, steps=40, learning_rates=(0.1, 0.5))
VOID = {"meta", "br", "link", "img", "input", "hr"}
# Attributes that make a browser fetch something; an anchor's href waits for a click.
LOADING = {"src", "srcset", "data", "poster", "action", "background", "xlink:href"}


def results(loss_range: float = 0.01, diverged: bool = False) -> dict[str, Any]:
    data = {
        "title": "made-up <digits> & more",
        "classes": ["0", "1"],
        "train": 100,
        "test": 50,
        "image": [8, 8, 1],
        "largest_class_share": 0.5,
        "fingerprint": "f" * 64,
    }
    slow, fast = [0.5, 0.6, 0.7, 0.8, 0.9], [0.5, 0.95, 0.96, 1.0, 1.0]
    runs = []
    for run in CONFIG.runs():
        plain = run.arm == "plain"
        stopped = diverged and plain and run.learning_rate == 0.5
        runs.append(
            record(
                run.arm,
                run.learning_rate,
                run.seed,
                (slow if plain else fast)[: 2 if stopped else 5],
                loss_ranges=[1.0 if plain else loss_range] * (2 if stopped else 4),
                diverged_at=17 if stopped else None,
            )
        )
    return {
        "schema": "convscape.study/1",
        "config": CONFIG.as_dict(),
        "data": data,
        "environment": environment(),
        "how": {
            "command": ["convscape", "study", "--data", "'a b'"],
            "workers": 2,
            "threads_per_worker": 1,
            "finished_at": "2026-01-01T00:00:00+00:00",
            "wall_seconds": 12.5,
            "runs_found_finished": 0,
            "run_seconds": 20.0,
        },
        "summary": summarise(CONFIG, data, runs),
        "runs": runs,
    }


class Page(HTMLParser):
    """Collects what a browser would load, links and ids, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self._collect(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._collect(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def _collect(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in LOADING or (name == "href" and tag != "a"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "id":
                self.ids.append(value or "")


@pytest.fixture(scope="module")
def text() -> str:
    return render(results())


def test_the_page_is_well_formed_and_loads_nothing(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert all(place.startswith("#") and place[1:] in page.ids for place in page.loads)
    assert not {"script", "link", "iframe", "object", "img"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    assert all(link.startswith("https://arxiv.org/abs/") for link in page.links)


def test_every_figure_has_ids_of_its_own_and_a_description(text: str) -> None:
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    figures = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    # Two for the best rate, three curves and four probes for each rate, one for all rates.
    assert len(figures) == len(set(figures)) + 1 == 2 + 2 * (3 + 4) + 1


def test_figures_take_their_colours_from_the_page(text: str) -> None:
    defined = set(re.findall(r"(--[a-z]+):", text))
    used = set(re.findall(r"var\((--[a-z]+)\)", text))
    assert {"--ink", "--rule", "--plain", "--batchnorm"} <= used <= defined
    assert not re.search(r"(fill|stroke): #(?!fff)", text)


def test_the_page_says_what_was_measured_and_escapes_names(text: str) -> None:
    page = Page(text)
    for claim in results()["summary"]["claims"]:
        assert claim["measured"] in page.text
    assert "made-up <digits> & more" in page.text
    assert "convscape study --data 'a b'" in page.text
    assert "trains faster here, over a smoother loss" in page.text
    for key in ("ioffe", "santurkar", "yao", "yang", "ghorbani", "bjorck", "cohen"):
        assert f"https://arxiv.org/abs/{SOURCES[key][1]}" in page.links


def test_a_study_that_shows_less_says_less() -> None:
    text = Page(render(results(loss_range=0.5))).text
    assert "not over a clearly smoother loss" in text
    assert "not seen here" in text


def test_diverged_runs_are_named() -> None:
    text = " ".join(Page(render(results(diverged=True))).text.split())
    assert "plain at learning rate 0.5, seed 0, step 17" in text


def test_equal_results_give_an_equal_page(text: str) -> None:
    assert render(results()) == text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize(("width", "scheme"), [(1180, "light"), (390, "dark")])
def test_a_browser_shows_it_without_requests_or_sideways_scrolling(
    width: int, scheme: Any, text: str, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "report.html"
    path.write_text(text)
    options = "--no-sandbox --disable-gpu --disable-background-networking --disable-sync"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=[*options.split(), "--disable-component-update", "--no-first-run"],
        )
        viewport = {"width": width, "height": 800}
        page = browser.new_page(viewport=viewport, color_scheme=scheme)
        requests: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        assert requests == [path.as_uri()]
        assert problems == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # No figure's text leaves its figure, and none is drawn on its own colour.
        clipped = page.evaluate(
            """[...document.querySelectorAll('figure > svg')].flatMap(svg => {
                const box = svg.getBoundingClientRect();
                return [...svg.querySelectorAll('text')].filter(t => {
                    const b = t.getBoundingClientRect();
                    return b.left < box.left - 1 || b.right > box.right + 1
                        || b.top < box.top - 1 || b.bottom > box.bottom + 1;
                }).map(t => t.textContent);
            })"""
        )
        assert clipped == []
        ink, paper = page.evaluate(
            "[getComputedStyle(document.querySelector('figure svg text')).fill, "
            "getComputedStyle(document.body).backgroundColor]"
        )
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 384) == (scheme == "light")
        assert ink != paper
        browser.close()
