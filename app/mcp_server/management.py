"""THE table of management tools: who may use each, what it takes, which use case answers.

Each takes the path parameters and the body of its REST twin, flattened, and returns the REST body.

It refuses to be: a second REST. What a model needs to author, publish, call and follow is here, and no more.
"""

from __future__ import annotations

from app.candidates.reading import READERS
from app.invocation.approvals import STATES
from app.mcp_server import approving, authoring, operating
from app.mcp_server.effect_tools import EFFECT_TOOLS
from app.mcp_server.entry import OUTWARD, PAGE, SAME_AGAIN, TOOL, WRITES, Management
from app.mcp_server.fields import boolean, integer, number, obj, one_of, text
from app.mcp_server.pausing import PAUSE_TOOLS
from app.registry.entries import MANAGERS

_PAGE, _TOOL = PAGE, TOOL
_RUN = text("Id of the run, such as run_01…", 64)
_FILE = obj({"path": one_of("Name of the file.", "tool.py", "test_tool.py"), "content": text("Its text.", 200_000)}, "path", "content")
_FILES = {"type": "array", "minItems": 2, "maxItems": 2, "items": _FILE, "description": "Exactly tool.py and test_tool.py."}
_RECORD = obj(
    {"key": text("Key of the record.", 512), "body": {"type": "object", "description": "The record."}},
    "key",
    "body",
)
_CALL = obj(
    {
        "tool": _TOOL,
        "args": {"type": "object", "description": "The tool's arguments, by its input schema."},
        "version": integer("A version to pin; the channel decides unless given.", 1, 1_000_000),
        "dry_run": boolean("Perform nothing; answer with the plan."),
        "approval": text("Id of the approval that lets this call have effects, if your key needs one.", 64),
        "key": text("Idempotency key: the same key and arguments give the first answer again.", 200),
        "wait_s": number("How long to wait for the end, in seconds; 0 hands the run to the background.", 0, 50),
    },
    "tool",
    "args",
)

_TABLE = (
    Management(
        "toolmint_guide",
        "How to write a spec and a tool",
        "Everything needed to author a tool here: the spec's fields, the rules, the toolkit, the connectors with their schemas, one full "
        "example, and the way from spec to published tool. Read it before you write.",
        ("specs:write", "candidates:submit"),
        obj({"topic": one_of("A part alone; all of it unless given.", *authoring.TOPICS)}),
        authoring.guide,
    ),
    Management(
        "toolmint_save_spec",
        "Save a revision of a spec",
        "Checks the spec (its fields are the arguments) and saves it. Problems come back with JSON paths and how to mend each. The same "
        "content is the same revision.",
        ("specs:write",),
        authoring.SPEC_SCHEMA,
        authoring.save,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_submit_candidate",
        "Submit code for a spec",
        "Queues tool.py and test_tool.py for verification against a saved spec. Follow it with toolmint_candidate_report.",
        ("candidates:submit",),
        obj(
            {
                "name": _TOOL,
                "files": _FILES,
                "spec_revision": integer("Revision of the spec; the latest unless given.", 1, 1_000_000),
                "notes": text("For whoever approves it.", 4000),
                "full_report": boolean("Run every gate even after one has failed."),
            },
            "name",
            "files",
        ),
        authoring.submit,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_generate",
        "Have a model write a candidate",
        "A model writes tests and code for a saved spec; what it writes is submitted in your name. Follow it at GET /generations/{id}.",
        ("candidates:submit",),
        obj(
            {
                "name": _TOOL,
                "model": text("Name of the model; the installation's unless given.", 120),
                "brief": text("What the spec does not say.", 4000),
                "repairs": integer("How often it may repair its work.", 0, 10),
                "spec_revision": integer("Revision of the spec; the latest unless given.", 1, 1_000_000),
            },
            "name",
        ),
        authoring.generate,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_candidate_report",
        "Read the verification of a candidate",
        "Gates with findings and how to mend them, rubric scores, and the candidate's state: queued, verifying, passed, refused, "
        "published, cancelled or error. With wait_s it waits for the end of verification. Short unless full.",
        READERS,
        obj(
            {
                "id": text("Id of the candidate.", 64),
                "wait_s": number("Seconds to wait for the end.", 0, 50),
                "full": boolean("Every finding, and the evidence of each gate and score."),
            },
            "id",
        ),
        authoring.report,
    ),
    Management(
        "toolmint_cancel_candidate",
        "Cancel the verification of a candidate",
        "Ends a verification that waits or is under way. The candidate is neither passed nor refused.",
        ("candidates:submit",),
        obj({"id": text("Id of the candidate.", 64)}, "id"),
        authoring.cancel,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_publish",
        "Publish a candidate",
        "Makes the next version of a candidate that passed (and, where it has effects, was approved by another actor); moves the channel.",
        ("tools:publish",),
        obj(
            {
                "name": _TOOL,
                "candidate_id": text("Id of the candidate.", 64),
                "channel": one_of("Channel to move.", "stable"),
                "reason": text("For the history.", 1000),
            },
            "name",
            "candidate_id",
        ),
        operating.publication,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_rollback",
        "Roll a tool back",
        "Points the stable channel to the version before the present one, or to the one that is named.",
        ("tools:rollback",),
        obj(
            {"name": _TOOL, "reason": text("Why.", 1000), "version": integer("A version to go to.", 1, 1_000_000)},
            "name",
            "reason",
        ),
        operating.roll,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_search_tools",
        "Search the catalog of tools",
        "Tools whose name, title or description has every word of the query, with schemas. Call one by its name, or with toolmint_call.",
        ("tools:call", *MANAGERS),
        obj({"query": text("Words to look for.", 200), **_PAGE}),
        operating.search,
    ),
    Management(
        "toolmint_call",
        "Call a published tool",
        "For clients that cannot set _meta or list many tools. Answers with the run: its result, its error, or its id while it goes on.",
        ("tools:call",),
        _CALL,
        operating.call,
        OUTWARD,
    ),
    Management(
        "toolmint_request_approval",
        "Ask for the approval of a call",
        "Asks another actor for leave to do what your own dry run planned. Call with the id of the approval (toolmint_call approval, or "
        "_meta toolmint/approval) and the same arguments once it is approved: it is good for one run of exactly that plan.",
        ("tools:call",),
        obj(
            {
                "run_id": text("Id of the dry run.", 64),
                "note": text("What the call is for, for whoever decides.", 1000),
                "ttl_s": integer("For how many seconds it is needed; a day unless given.", 60, 604_800),
            },
            "run_id",
        ),
        approving.request,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_approvals",
        "Follow approvals of calls",
        "One approval with its arguments and plan, waiting for its decision for up to wait_s; without an id, a list.",
        ("tools:call", "calls:approve"),
        obj(
            {
                "id": text("Id of the approval.", 64),
                "wait_s": number("Seconds to wait for the decision.", 0, 50),
                "state": one_of("Only in this state.", *STATES),
                "tool": _TOOL,
                **_PAGE,
            }
        ),
        approving.approvals,
    ),
    Management(
        "toolmint_decide_approval",
        "Approve or reject a call of another actor",
        "Read its arguments and plan first (toolmint_approvals). A yes can be taken back until it is used.",
        ("calls:approve",),
        obj(
            {
                "id": text("Id of the approval.", 64),
                "decision": one_of("The decision.", "approve", "reject"),
                "reason": text("Why; it goes into the audit trail.", 1000),
            },
            "id",
            "decision",
            "reason",
        ),
        approving.decide,
        WRITES,
        repeats=True,
    ),
    Management(
        "toolmint_run_status",
        "Read a run",
        "State, result or error, progress, and the ledger's present counts.",
        ("tools:call", *MANAGERS),
        obj({"id": _RUN}, "id"),
        operating.run_status,
    ),
    Management(
        "toolmint_cancel_run",
        "Cancel a run",
        "Stops a run at its next effect boundary. What is done stays done.",
        ("tools:call",),
        obj({"id": _RUN}, "id"),
        operating.cancel,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_replay_run",
        "Replay a run from its journal",
        "Runs the version's code again with every answer taken from the journal, and performs nothing: the same result and the same effect "
        "keys, or the first step that differs.",
        ("tools:call", *MANAGERS),
        obj({"id": _RUN, "wait_s": number("Seconds to wait for the report.", 0, 50)}, "id"),
        operating.replay,
        SAME_AGAIN,
    ),
    *EFFECT_TOOLS,
    *PAUSE_TOOLS,
    Management(
        "toolmint_import_records",
        "Import records into a collection",
        "Creates or replaces records by key. Large inputs of tools belong into a collection, passed by reference. Wrong lines are reported "
        "by number and left out.",
        ("records:write",),
        obj(
            {
                "collection": text("Name of the collection; its first record creates it.", 64),
                "records": {"type": "array", "maxItems": 10_000, "items": _RECORD, "description": "The records; or use content."},
                "content": text("The same as text: JSONL lines of key and body, or CSV.", 4_000_000),
                "format": one_of("Of content.", "jsonl", "csv"),
                "key": text("CSV: the column that holds the keys.", 128),
            },
            "collection",
        ),
        operating.load,
        SAME_AGAIN,
        repeats=True,
    ),
    Management(
        "toolmint_snapshot_records",
        "Keep a collection as it is now",
        "Takes an immutable snapshot of a collection, or of the records that a filter finds, and answers with its id. Pass it to tools as "
        '{"snapshot": id}: however the collection changes, they read what it was. The same records are the same snapshot.',
        ("records:write",),
        obj(
            {
                "collection": text("Name of the collection.", 64),
                "filter": {"type": "object", "description": "Only records whose top-level fields equal these values, or one of a list."},
            },
            "collection",
        ),
        operating.keep,
        SAME_AGAIN,
        repeats=True,
    ),
)
MANAGEMENT: dict[str, Management] = {tool.name: tool for tool in _TABLE}
