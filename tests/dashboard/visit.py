"""A visitor's browser: what it is shown, what it looked like, and what went wrong behind it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.gateway import Stack

SHOTS = Path(os.environ.get("FERRYMAN_SHOTS", Path(__file__).parents[2] / ".shots"))
"""Where screenshots go; git ignores it."""
SIZES = {"wide": (1440, 900), "narrow": (390, 844)}
PATIENCE = 20_000
"""Milliseconds that a page may take to show what is expected: the machine may be busy."""
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")


class Visit:
    """One signed-in visitor; ``page`` is Playwright's."""

    def __init__(self, browser: Browser, ferry: Stack, axe: str) -> None:
        self._axe = axe
        self.browser = browser
        self.url = (ferry.data / "admin-url").read_text().strip()
        self.context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=self.url)
        self.context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", self._look)
        self.enter(ferry)

    def enter(self, ferry: Stack) -> None:
        """Sign in by a link, as ``ferryman dashboard`` prints it."""
        token = ferry.admin("POST", "/api/v1/links").json()["token"]
        self.page.goto(f"{self.url}/enter#{token}")
        self.page.wait_for_url(f"{self.url}/")

    def go(self, path: str) -> Page:
        """Open a page of the dashboard."""
        self.page.goto(self.url + path)
        return self.page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _look(self, request: Request) -> None:
        if not request.url.startswith((self.url + "/", "data:")):
            self.faults.append(f"request: {request.url}")

    @contextmanager
    def expecting(self, text: str) -> Iterator[None]:
        """What goes wrong in here is meant to, and has ``text`` in it."""
        before = len(self.faults)
        yield
        assert any(text in fault for fault in self.faults[before:]), self.faults
        del self.faults[before:]

    def shoot(self, name: str) -> None:
        """Screenshots in both sizes and themes; each time axe finds nothing, nothing overflows."""
        SHOTS.mkdir(exist_ok=True)
        for size, (width, height) in SIZES.items():
            self.page.set_viewport_size({"width": width, "height": height})
            for theme in THEMES:
                self.page.emulate_media(color_scheme=theme)
                self.page.screenshot(path=SHOTS / f"{name}-{size}-{theme}.png", full_page=True)
                self.check(f"{name}, {size}, {theme}")
        self.page.set_viewport_size({"width": 1440, "height": 900})
        self.page.emulate_media(color_scheme="light")

    def check(self, where: str) -> None:
        """No fault that axe knows of, and no sideways scrolling."""
        self.page.evaluate(self._axe)
        found: list[dict[str, Any]] = self.page.evaluate("async () => (await axe.run()).violations")
        told = [
            f"{where}: {each['id']} ({each['impact']}): {each['help']}: "
            + "; ".join(str(node["html"])[:160] for node in each["nodes"][:3])
            for each in found
        ]
        assert not told, "\n".join(told)
        width = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, f"{where}: wider than the window by {width}"

    def end(self) -> None:
        """Close it; by then nothing may have gone wrong."""
        self.context.close()
        assert not self.faults
