"""Pages from templates: one environment, strict about names, escaping everything.

It refuses to be: a second template language. Macros stand in `shared/_ui.html` and are a global, because a top-level import
does not run where a part is rendered alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.access.permissions import holds
from app.core.actor import Actor
from app.core.clock import Clock
from app.web.addresses import address, segment
from app.web.drawing import segments
from app.web.formats import FILTERS, ago, instant
from app.web.measured import FILTERS as OF_FACTS
from app.web.measured import hint_rows
from app.web.navigation import NAVIGATION

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parents[2] / "templates"


@dataclass(frozen=True, slots=True)
class Page:
    """What every page knows: who looks at it (None: signed out), its token, its path, the note of a redirect, how to call
    an actor by its id, and what is paused."""

    actor: Actor | None
    csrf: str
    path: str
    note: str | None = None
    names: Callable[[str], str] = str
    pauses: Sequence[Mapping[str, Any]] = ()

    def may(self, permission: str) -> bool:
        """Whether to offer an action; the use case decides again."""
        return self.actor is not None and holds(self.actor, permission)

    def within(self, *paths: str) -> bool:
        """Whether this page belongs to the section at one of `paths`."""
        return any(self.path == path or (path != "/" and self.path.startswith(f"{path}/")) for path in paths)


def environment(clock: Clock) -> Environment:
    """The template environment; `ago` judges by `clock`."""
    made = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(FILTERS | OF_FACTS, segment=segment)
    made.filters.update(ago=lambda value: ago(value, clock.now()), past=lambda value: (instant(value) or 0) <= clock.now())
    made.globals.update(static=static_url, navigation=NAVIGATION, segments=segments, address=address, hint_rows=hint_rows)
    made.globals["ui"] = made.get_template("shared/_ui.html").module
    return made


@cache
def static_url(path: str) -> str:
    """The address of a static file with a mark of its content, so that browsers may keep it for ever."""
    mark = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
    return f"/static/{path}?v={mark}"
