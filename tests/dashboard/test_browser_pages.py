"""Every page in real Chromium: no complaint of the console or the policy, no finding of axe in either colour scheme, no sideways scroll."""

from __future__ import annotations

import re
from pathlib import Path

import app.web
from tests.dashboard.browsing import COLOURS
from tests.dashboard.conftest import Visit
from tests.dashboard.ids import pages
from tests.dashboard.site import Site
from tests.support.waiting import until

OWN = Path(app.web.__path__[0]) / "static"


def test_axe_finds_nothing_on_any_page_in_either_scheme_and_none_scrolls_sideways_on_a_phone(site: Site, visit: Visit) -> None:
    """Each page is opened once. What depends on a scheme are colours alone, as the next test says; a phone's width is a matter of CSS."""
    at = visit(site, "/")
    for name, path in pages(site).items():
        at.open(path)
        assert at.axe() == [], name
        at.page.emulate_media(color_scheme="dark")
        assert at.axe(COLOURS) == [], name
        at.page.emulate_media(color_scheme="light")
        at.page.set_viewport_size({"width": 375, "height": 900})
        assert at.page.evaluate("() => document.documentElement.scrollWidth <= 375 && window.innerWidth === 375"), name
        at.page.set_viewport_size({"width": 1280, "height": 900})
        assert at.problems() == [], name


def test_a_colour_scheme_is_nothing_but_colours() -> None:
    texts = [path.read_text(encoding="utf-8") for kind in ("css", "js") for path in OWN.rglob(f"*.{kind}") if "vendor" not in path.parts]
    assert any("light-dark(" in text for text in texts)
    assert not any("prefers-color-scheme" in text or "matchMedia" in text for text in texts)


def test_axe_finds_nothing_for_strangers_and_lost_people(site: Site, visit: Visit) -> None:
    at = visit(site, "/sign-in", key=None)
    assert at.axe() == []
    at.expected = {404}
    at.open("/nothing")
    at.page.goto(site.url + "/sign-in")
    assert at.axe() == []


def test_axe_would_notice_what_it_is_there_for(site: Site, visit: Visit) -> None:
    at = visit(site, "/runs")
    at.page.evaluate(
        """() => {
          const main = document.querySelector("main");
          main.append(document.createElement("img"), document.createElement("input"));
          const pale = document.createElement("p");
          pale.textContent = "pale";
          pale.style.color = "#ccc";
          main.append(pale);
        }"""
    )
    assert {"image-alt", "label", "color-contrast"} <= {finding["id"] for finding in at.axe()}
    at.page.evaluate("() => { document.querySelector('main > p:last-child').style.color = '#222'; }")
    assert at.axe(COLOURS) == []
    at.page.emulate_media(color_scheme="dark")
    assert [finding["id"] for finding in at.axe(COLOURS)] == ["color-contrast"], "dark on dark"


def test_a_planted_script_is_stopped_by_the_policy_and_would_fail_a_test(site: Site, visit: Visit) -> None:
    at = visit(site, "/runs")
    at.page.evaluate(
        """() => setTimeout(() => {
          const script = document.createElement("script");
          script.textContent = "window.planted = 1";
          document.body.append(script);
        }, 0)"""
    )

    def complained() -> bool:
        planted = not at.page.evaluate("() => window.planted === undefined")
        assert not planted
        return any("Content Security Policy" in text for text in at.complaints)

    until(complained, 30, "the policy's complaint")
    at.complaints.clear()


def test_every_page_can_be_read_without_scripts(site: Site, visit: Visit) -> None:
    at = visit(site, "/", script=False)
    for name, path in pages(site).items():
        at.open(path)
        assert at.page.locator("main h1").count() == 1, name
    at.open("/ledgers/campaigns/spring-2026")
    at.page.click("text=Load more")
    at.page.wait_for_url(re.compile("cursor="))
    at.open("/runs")
    at.page.select_option("select[name=state]", "failed")
    at.page.click("button:has-text('Filter')")
    at.page.wait_for_url(re.compile("state=failed"))
    assert at.page.locator("tbody .state").all_inner_texts() == ["failed"] * at.page.locator("tbody tr").count()


def test_the_first_stop_of_the_keyboard_skips_to_the_content(site: Site, visit: Visit) -> None:
    at = visit(site, "/runs")
    at.page.keyboard.press("Tab")
    assert at.page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
    at.page.keyboard.press("Enter")
    assert at.page.evaluate("() => document.activeElement.id") == "main"


def test_print_leaves_out_what_cannot_be_pressed_on_paper(site: Site, visit: Visit) -> None:
    at = visit(site, "/ledgers/campaigns/spring-2026")
    at.page.emulate_media(media="print")
    assert not at.page.is_visible(".side")
    assert not at.page.is_visible(".filters")
    assert at.page.is_visible("tbody tr >> nth=0")
