"""`toolmint connections list | create | test`: for operators at a terminal. A secret is read from standard input, never an argument.

It refuses to be: a place where a secret is shown or stays in a shell's history.
"""

from __future__ import annotations

import json
import sys
from getpass import getpass
from urllib.parse import quote

from app.cli.client import service
from app.cli.output import DONE, REFUSED, say, show
from app.core.errors import Invalid
from app.core.settings import Settings


def list_all(settings: Settings, *, as_json: bool) -> int:
    """A line for each connection."""
    with service(settings) as door:
        found = list(door.every("/connections"))
    if as_json:
        show(found)
        return DONE
    for one in found:
        test = one["test"]
        state = "not tested" if test is None else f"{'works' if test['ok'] else 'FAILS'}: {test['text']}"
        say(f"{one['name']}  {one['kind']}  secret {one['secret']}  {state}")
    if not found:
        say("No connection has a name yet. Make one: toolmint connections create NAME KIND SETTINGS")
    return DONE


def create(settings: Settings, name: str, kind: str, config: str, *, reference: str | None, secret: bool) -> int:
    """Name a new connection; `config` is JSON. Raises Invalid `args_invalid` for what is no JSON object, and what the service refuses."""
    try:
        parsed = json.loads(config)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise Invalid("args_invalid", "SETTINGS is no JSON object.", fix='Write it as in \'{"base_url": "https://api.example.com"}\'.')
    body = {"name": name, "kind": kind, "config": parsed, "secret": _secret() if secret else None, "secret_ref": reference}
    with service(settings) as door:
        show(door.post("/connections", body))
    return DONE


def test(settings: Settings, name: str) -> int:
    """Test a connection; status 1 where it does not work."""
    with service(settings) as door:
        seen = door.post(f"/connections/{quote(name, safe='')}/tests", {})
    say(f"{'works' if seen['ok'] else 'FAILS'} after {seen['took_ms']} ms: {seen['text']}")
    return DONE if seen["ok"] else REFUSED


def _secret() -> str:
    return getpass("Secret: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
