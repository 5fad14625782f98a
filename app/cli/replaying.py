"""`toolmint replay RUN`: have a run played again from its journal, and say whether it came to the same.

It refuses to be: a debugger. It names the first step that differs; the rest is on the run's page.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from app.cli.client import PATIENCE_S, POLL_S, Service, service
from app.cli.output import DONE, REFUSED, UNUSABLE, WAITING, complain, say, show
from app.core.errors import Failed
from app.core.settings import Settings

_OPEN = frozenset({"waiting", "replaying"})
_WAIT_S = 20


def replay(settings: Settings, run_id: str, *, as_json: bool) -> int:
    """Status 0: the same; 1: it differs, and where is printed; 2: it cannot be replayed; 3: it goes on."""
    with service(settings) as door:
        found = _followed(door, run_id)
    if as_json:
        show(found)
    else:
        tell(found)
    return {"same": DONE, "differs": REFUSED, "unusable": UNUSABLE}.get(found["state"], WAITING)


def _followed(door: Service, run_id: str) -> dict[str, Any]:
    runs = f"/runs/{quote(run_id, safe='')}/replays"
    deadline = time.monotonic() + PATIENCE_S
    found: dict[str, Any] = door.post(runs, {"wait_s": _WAIT_S})
    while found["state"] in _OPEN and time.monotonic() < deadline:
        time.sleep(POLL_S)
        found = door.get(f"{runs}/{found['id']}")
    return found


def tell(found: dict[str, Any]) -> None:
    """The report for people."""
    if found["state"] in _OPEN:
        say(f"The replay {found['id']} goes on; see GET /api/v1/runs/{found['run_id']}/replays/{found['id']}.")
        return
    if found["state"] == "unusable":
        complain(Failed(found["error"]["code"], found["error"]["detail"], fix=found["error"]["fix"]))
        return
    steps, keys = found["steps"], found["keys"]
    say(f"{found['run_id']}: {steps['asked']} of {steps['recorded']} steps asked again, nothing performed")
    say(f"{keys['checked']} effect keys computed anew" + (f", {keys['unchecked']} not computable" if keys["unchecked"] else ""))
    if found["state"] == "same":
        whole = found["reached"] == "end"
        say("The same: requests, keys and end." if whole else "The same up to the end of the journal; the run was ended from outside.")
        return
    _tell_difference(found["difference"])


def _tell_difference(difference: dict[str, Any]) -> None:
    where = f" at step {difference['step']}" if "step" in difference else " at the end of the run"
    where += f", chunk {difference['chunk']}" if difference.get("chunk") else ""
    where += f", item {difference['position']}" if "position" in difference else ""
    say(f"IT DIFFERS{where} ({difference['what']})")
    for name in ("recorded", "asked"):
        side = difference[name]
        words = "nothing" if side is None else "  ".join(f"{key} {value}" for key, value in side.items())
        say(f"  {'recorded' if name == 'recorded' else 'now     '}  {words}")
