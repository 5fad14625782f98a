"""How to write a tool: the toolkit, the rules and one full example, for models and for people. A capable author needs no more.

All of it comes from what is bundled: the toolkit's own source and a bundled tool's own files, without its held-out cases.

It refuses to be: a second place where rules are kept. Gates decide; a test compares the modules named here with theirs.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from app.codegen.stubs import stub_of
from app.spec.catalog import ConnectorCatalog
from app.spec.model import ExecutionSpec

BUNDLED = Path(__file__).resolve().parents[2] / "generated_tools"
EXAMPLES = ("messaging/campaign_send_bulk", "data/repair_customer_records")
MODULES = (
    "abc base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal difflib email.utils enum fractions "
    "functools hashlib heapq html io itertools json math numbers operator re statistics string textwrap types typing unicodedata "
    "urllib.parse uuid zoneinfo"
)
TEST_MODULES = "pytest random tool toolkit.testing"

SPEC = """\
A spec is one JSON object and the whole contract; what it does not declare cannot happen. Its fields:
spec_version "1"; name (^[a-z][a-z0-9_]{0,63}$); title, one line; description: when to use the tool and what it guarantees;
inputs, outputs: JSON Schema 2020-12 of the arguments and the result, closed (additionalProperties false), every string and array
  bounded, every property described, $ref within the document; results are counts, small samples and references, never bulk;
permissions: what a caller must hold, such as "campaigns:send";
reads [{id, connector, config}], effects [{id, connector, config, key, criticality, on_unknown, retry, retry_failed, limits, ledger,
  undo or undo_reason}]: what the tool may see and change, with the narrowest config; no read or effect that it does not use;
effects[].key: a CEL list over scalar paths of args and of the item, such as "[args.campaign_id, item.to]": one effect for each
  distinct key, for ever, across runs and versions; it must vary with the item where limits.per_run is over 1;
effects[].criticality required or best_effort; on_unknown hold (never repeat, a person decides) or retry;
effects[].undo {effect, item {field: one path of args, item or receipt}}: the effect that puts back what was there, which is done and
  undone before publication; where there is none, undo is null and undo_reason says why;
run_key: a CEL list that gives a call its natural identity, or null;
invariants [{id, text, expr}]: CEL over args, result and effects.<id>.{done, skipped, retrying, failed, unknown, distinct}, true after
  every run; all, exists, map and filter nest two deep at most;
examples [{name, visibility author or held_out, now, world {records, snapshots, script}, args, result or error {code}, effects [{id, item,
  status}]}]: golden cases; held_out ones are hidden from authors of code; an item may name a part of its fields: leave out what is
  taken from a provider's answer, which is made up; a script is answered with the codes that trial() names;
Connectors that reach outside may name a connection, which an operator sets up with its address and credential: "connection" in
  config. http.request without one goes to the declared https hosts alone; its 5xx counts as unknown unless on_5xx says otherwise.
  notify.send is one effect for each channel: perform it once per channel, with item.channel in the key. records.snapshot keeps a
  collection as it is; pass its id in arguments as {"snapshot": id} and read it with ctx.read_pages(id, snapshot=...).
limits {timeout_s, memory_mb, input_bytes, result_bytes}; volume {runs_per_month, items_per_run}; baseline {calls_per_item,
  input_tokens_per_call, output_tokens_per_call, model}: what doing the same by prompting would take.
"""

RULES = f"""\
A tool is two files. `tool.py` defines `def run(args: Args, ctx: Context) -> Result` and `test_tool.py` tests it with pytest.
`contract.py` is generated from the spec: Args, Result and one <Effect>Item for each effect. mypy strict checks tool.py against it.

1. tool.py imports from `contract`, `toolkit` and these modules only: {MODULES}; of io StringIO and BytesIO, of types
   MappingProxyType alone. test_tool.py may import these as well: {TEST_MODULES}.
2. The world is reached through ctx alone: reads and effects by the ids that the spec declares. There is no network, file, process,
   environment or thread. Time is ctx.now(), randomness ctx.random, fresh ids ctx.new_id().
3. A run may be killed at any moment and is run again from the top with its journal: the same arguments and answers must lead to the
   same calls in the same order. Keep no state outside run(); iterate in a defined order.
4. Never try to remember what was done before: the host computes effect keys from the spec and answers `skipped` or `duplicate` for
   what was done. Perform the effect for everyone it is due for and count the outcomes.
5. Every outcome status has its place in the result: done, skipped, duplicate, retrying, failed, unknown. A failed required effect is
   counted as failed; an unknown one is never counted as done or failed, and never sent again.
6. Use ctx.perform_each for many items, never a list of all of them in memory; ctx.progress at least every few hundred items.
7. A business failure is `raise ToolError("snake_case_code", "what happened and what to do")`. Catch only what you can answer, and never
   go on after the host has refused a call of ctx; no bare or broad except.
8. ctx.log(event, **fields) once at the start of the work and once at its end, with counts; no personal data in logs or errors.
9. Money is Decimal or integer cents. Text from arguments and records is data: escape it where it goes into HTML or a link.
10. Modules and functions have docstrings, every function has types, no function is longer than 50 lines, tool.py is under 60 KB.
11. No work at import, no mutable module constants, no getattr/eval/exec/dunder access, no print, no secrets, no endless loops.
12. Tests are sentences about behaviour. They assert the result AND the effects (t.effects, t.items("send")), a repeated call
    (`after=`), a lost reply, a refusal, a crash, and each business failure. They are what a person who approves reads first: they should
    notice a deleted effect, a changed key or item, a swallowed error and a negated condition.
"""


def guide(catalog: ConnectorCatalog, example: str = EXAMPLES[0]) -> str:
    """The whole guide as text with tags around its parts, about 55 kB. `example` is one of EXAMPLES."""
    return "\n\n".join([tagged("spec", SPEC), how_to_write(example), effect_catalogue(catalog)])


def how_to_write(example: str = EXAMPLES[0]) -> str:
    """The guide without the catalogue of connectors: the same for every spec, so that a provider can keep it in its cache."""
    return "\n\n".join([tagged("toolkit", toolkit_reference()), tagged("rules", RULES), *_example(example)])


def effect_catalogue(catalog: ConnectorCatalog, names: frozenset[str] | None = None) -> str:
    """The connector kinds with the schemas of their config and of what a tool passes; only those in `names` if given."""
    kinds = [row for row in catalog.as_json() if names is None or row["name"] in names]
    shown = [{key: row[key] for key in ("name", "role", "local", "key_fields", "config_schema", "item_schema")} for row in kinds]
    return tagged("connectors", json.dumps(shown, indent=1))


def tagged(tag: str, text: str) -> str:
    return f"<{tag}>\n{text.strip()}\n</{tag}>"


@lru_cache(maxsize=1)
def toolkit_reference() -> str:
    """The public part of the toolkit as typed stubs."""
    context = (BUNDLED / "toolkit" / "context.py").read_text(encoding="utf-8")
    testing = (BUNDLED / "toolkit" / "testing.py").read_text(encoding="utf-8")
    parts = [
        "# from toolkit import Cancelled, Context, Outcome, Status, ToolError",
        stub_of(context, {"Status", "ToolError", "Cancelled", "Outcome", "Context"}),
        "# from toolkit.testing import trial",
        stub_of(testing, {"Trial", "trial"}),
    ]
    return "\n\n".join(parts)


@lru_cache(maxsize=len(EXAMPLES))
def _example(name: str) -> tuple[str, ...]:
    folder = BUNDLED / name
    spec = ExecutionSpec.parse((folder / "spec.json").read_text(encoding="utf-8"))
    hidden = {example.name for example in spec.examples if example.visibility == "held_out"}
    body = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    body["examples"] = [example for example in body.get("examples", []) if example["name"] not in hidden]
    return (
        tagged("example_spec", json.dumps(body, indent=1, ensure_ascii=False)),
        tagged("example_tool", (folder / "tool.py").read_text(encoding="utf-8")),
        tagged("example_tests", (folder / "test_tool.py").read_text(encoding="utf-8")),
    )
