"""A real browser for the explorer's tests, and a page in it that may do nothing forbidden."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from convscape.figures.explorer.serve import Server

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


def chromium() -> str | None:
    """Path of a Chromium: the environment's, the system's; None if there is none."""
    named = os.environ.get("CONVSCAPE_CHROMIUM")
    names = (named, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if name and (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; skips the test where none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    if path is None:
        pytest.skip("no Chromium: install it (apt-get install chromium) or set CONVSCAPE_CHROMIUM")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@contextmanager
def serving(network: dict[str, Any] | None = None) -> Iterator[Server]:
    """The explorer's server on a free port."""
    with Server(0, network) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Tab:
    """A page that collects what must not happen: errors, warnings, requests to elsewhere."""

    def __init__(self, started: Any, address: str, **context: Any) -> None:
        self.context = started.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **context}
        )
        self.page = self.context.new_page()
        self.address = address
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(f"console {m.type}: {m.text}"))
        self.page.on("pageerror", lambda e: self.wrong.append(f"error: {e}"))
        self.page.on("request", self._requested)

    def _requested(self, request: Any) -> None:
        own = (self.address, "data:", "blob:")
        if not request.url.startswith(own):
            self.wrong.append(f"request: {request.url}")

    def open(self, link: str = "") -> Any:
        """Go to a setting; a fresh load each time."""
        self.page.goto("about:blank")
        self.page.goto(self.address + (f"#{link}" if link else ""))
        self.page.wait_for_selector(".cs-sum")
        return self.page

    def settled(self) -> str:
        """The address's part after #, once it has followed the page."""
        self.page.wait_for_timeout(200)
        return str(self.page.evaluate("location.hash.slice(1)"))

    def close(self) -> None:
        """End it; what went wrong on the way fails the test."""
        self.context.close()
        assert self.wrong == []
