"""`toolmint tools`: which published tools there are, for somebody at a terminal.

It refuses to be: their documentation. Schemas are in the JSON and on the dashboard.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from app.cli.client import service
from app.cli.output import DONE, say, show
from app.core.settings import Settings

_NONE = "No tool is published yet. A new service publishes two of its own within a minute; `toolmint publish DIR` publishes one of yours."


def list_all(settings: Settings, words: list[str], *, as_json: bool) -> int:
    """A line for each tool that the key may know of and that has all these words in its name, title or description."""
    with service(settings) as door:
        found = list(door.every(f"/tools?{urlencode({'query': ' '.join(words)})}"))
    if as_json:
        show(found)
        return DONE
    for tool in found:
        say(f"{tool['name']}  {_versions(tool)}  {tool['title']}")
    if not found:
        say(f"No tool that you may know of has {' '.join(words)!r} in its texts." if words else _NONE)
    return DONE


def _versions(tool: dict[str, Any]) -> str:
    """`version 2`, `version 2 (version 3 for 5 %)`, or why it does not load."""
    if "refused" in tool:
        return f"REFUSED ({tool['refused']['code']})"
    channels = dict(tool["channels"])
    stable = channels.pop("stable")
    others = ", ".join(f"version {channel['version']} for {channel['weight']} %" for channel in channels.values())
    return f"version {stable['version']}" + (f" ({others})" if others else "")
