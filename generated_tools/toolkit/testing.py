"""Trials: run a tool against a small world, with faults, crashes and repeated calls, by the spec that lies beside it.

    from toolkit.testing import trial
    from tool import run

    t = trial(run, {"campaign_id": "spring"}, world={"records": {"customers": [{"key": "c1", "body": {"email": "a@example.com"}}]}},
              script=[{"effect": "send", "when": {"to": "a@example.com"}, "answer": "lose_reply"}])
    assert t.result["unknown"] == 1
    again = trial(run, {"campaign_id": "spring"}, after=t)

It refuses to be: a sandbox or the runtime. It agrees with them on what a tool can see, and its keys and limits are the spec's.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ._books import Books, Crash, Diverged, Host
from .context import Context, ToolError
from .wire import dumps

NOW = "2026-03-01T09:00:00Z"
MAX_CRASHES = 3

Run = Callable[[Any, Context], Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call did.

    `result` is the tool's answer, or None with `error` `{"code", "message"}`. `effects` has one entry per item, in order:
    `{"effect", "item", "key", "status"}`, the item as the connector spells it. `counts` are the numbers that invariants see,
    `world` the records afterwards, `logs` and `progress` what the tool said.
    """

    result: Any
    error: dict[str, str] | None
    effects: list[dict[str, Any]]
    logs: list[dict[str, Any]]
    progress: list[dict[str, Any]]
    counts: dict[str, dict[str, int]]
    world: dict[str, Any]
    crashes: int = 0
    _books: Books = field(default_factory=Books, repr=False)

    def items(self, effect: str, status: str = "done") -> list[dict[str, Any]]:
        """The items of one effect that ended with `status`, in order."""
        return [entry["item"] for entry in self.effects if entry["effect"] == effect and entry["status"] == status]


def trial(
    run: Run,
    args: Mapping[str, Any],
    *,
    world: Mapping[str, Any] | None = None,
    now: str = NOW,
    script: Sequence[Mapping[str, Any]] = (),
    after: Trial | None = None,
    spec: Mapping[str, Any] | None = None,
) -> Trial:
    """Call a tool's `run` once, as a run of its own.

    `world` adds records (to those of `after`), keeps `snapshots` (`{id: collection}`, of the records as they then are), and may hold a
    `script` as the spec's examples do. `script` says how an effect whose item has the fields of `when` is answered: `refuse_now`,
    `refuse_for_good`, `lose_reply` each time (or `times`), with the codes of real servers (a mail: smtp_450, smtp_550,
    smtp_disconnected; a request or webhook: http_429, http_422, http_disconnected; records: version_conflict); `crash` and
    `crash_before` once, after which the run starts again from the top with its journal (code holder_died). An effect on records is
    done or failed in one transaction, so there `refuse_now` fails for good and `lose_reply` is `done`. `after` goes on with that
    trial's ledger and world. `now` is RFC 3339, to the second, and stands still. `spec` replaces the `spec.json` beside the tool.
    What the tool raises beside ToolError is raised here.
    """
    contract = spec if spec is not None else _spec_beside(run)
    books = copy.deepcopy(after._books) if after else Books()
    books.runs += 1
    for collection, records in (world or {}).get("records", {}).items():
        for record in records:
            books.world.add(collection, record["key"], _copied(record["body"]))
    for name, collection in (world or {}).get("snapshots", {}).items():
        books.world.keep(collection, {}, name)
    faults = [*(world or {}).get("script", ()), *script]
    host = Host(contract, _copied(args), books, faults, _milliseconds(now))
    crashes, ended = 0, _attempt(run, args, host, contract)
    while ended is None:
        crashes += 1
        if crashes == MAX_CRASHES:
            ended = None, {"code": "quarantined", "message": f"the run killed its worker {crashes} times"}
        else:
            host.attempt()
            ended = _attempt(run, args, host, contract)
    result, error = ended
    effects = [host.performed[place] for place in sorted(host.performed)]
    return Trial(result, error, effects, host.logs, host.progress, host.counts(), _copied(books.world.as_dict()), crashes, books)


def _attempt(run: Run, args: Mapping[str, Any], host: Host, spec: Mapping[str, Any]) -> tuple[Any, dict[str, str] | None] | None:
    """Result and error of one attempt; None where it was cut short by a crash."""
    context = Context(host, now=host.now, seed=f"trial-{host.run}")
    try:
        result = run(_copied(args), context)
    except Crash:
        return None
    except ToolError as error:
        return None, {"code": error.code, "message": error.message}
    except Diverged as error:
        return None, {"code": "nondeterminism", "message": str(error)}
    text = dumps(result)
    most = spec.get("limits", {}).get("result_bytes", 8192)
    if len(text.encode()) > most:
        return None, {"code": "result_too_large", "message": f"the result has {len(text.encode())} bytes; the spec allows {most}"}
    return json.loads(text), None


def _spec_beside(run: Run) -> Mapping[str, Any]:
    beside = Path(inspect.unwrap(run).__code__.co_filename).resolve().parent
    for folder in (beside, Path.cwd()):
        if (folder / "spec.json").is_file():
            spec: Mapping[str, Any] = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
            return spec
    raise FileNotFoundError(f"there is no spec.json in {beside} or in the working folder")


def _copied(value: Any) -> Any:
    return json.loads(dumps(value))


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()) * 1000
