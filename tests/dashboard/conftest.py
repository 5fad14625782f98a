"""Chromium for the dashboard's tests. Every page is watched: a console error, a script error or a broken policy fails the test.

The fixtures are of this package on purpose: Playwright keeps an event loop in the main thread, which would break every later
asynchronous test of a session.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.dashboard.browsing import Watched, watch
from tests.dashboard.site import Site, planted, serving

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        message = "NO CHROMIUM: the dashboard's browser tests did not run. Install it: apt-get install -y chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded home, to be copied."""
    return planted(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="package")
def site(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A seeded dashboard for tests that only look."""
    with serving(tmp_path_factory.mktemp("dashboard"), template) as site:
        yield site


@pytest.fixture
def own_site(template: Path, tmp_path: Path) -> Iterator[Site]:
    """A seeded dashboard for a test that changes things."""
    with serving(tmp_path, template) as site:
        yield site


Visit = Callable[..., Watched]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """`visit(site, path, key=…, scheme="dark", width=375, script=False)` opens a page, signed in unless `key` is None."""
    opened: list[tuple[BrowserContext, Watched]] = []

    def open_page(site: Site, path: str, *, key: str | None = "", scheme: str = "light", width: int = 1280, script: bool = True) -> Watched:
        context = browser.new_context(
            color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 900}, java_script_enabled=script
        )
        watched = watch(context.new_page(), site)
        opened.append((context, watched))
        if key is not None:
            sign_in(watched.page, site, key or site.key)
        watched.page.goto(site.url + path)
        return watched

    yield open_page
    problems = []
    for context, watched in opened:
        problems += watched.problems()
        context.close()
    assert problems == []


def sign_in(page: Page, site: Site, key: str) -> None:
    page.goto(f"{site.url}/sign-in")
    page.fill("input[name=key]", key)
    page.click("button[type=submit]")
