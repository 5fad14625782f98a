"""Values that no honest client sends: each is refused with a stable code that says what to do, and nothing inside breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.protocol.site import Site
from tests.support.published import COUNTER_ARGS

HUGE = 10**30
HALF = '"\\ud800"'
NUL = '"\\u0000"'
FILES = '[{"path": "tool.py", "content": "x"}, {"path": "test_tool.py", "content": "x"}]'


def call(**more: Any) -> str:
    return json.dumps({"args": COUNTER_ARGS, **more})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", f"/tools/count_notes/versions/{HUGE}", None, 404, "version_not_found"),
        ("GET", "/tools/count_notes/versions/-1", None, 404, "version_not_found"),
        ("GET", f"/specs/count_notes?revision={HUGE}", None, 404, "spec_not_found"),
        ("PUT", f"/records/hostile/x?expected_version={HUGE}", "{}", 409, "version_conflict"),
        ("PUT", "/records/hostile/x?expected_version=-1", "{}", 409, "version_conflict"),
        ("PUT", "/records/hostile/x", '{"a": 1e999}', 422, "record_invalid"),
        ("PUT", "/records/hostile/x", '{"a": NaN}', 422, "body_invalid"),
        ("PUT", "/records/hostile/x", '{"a": ' + "9" * 5000 + "}", 422, "body_invalid"),
        ("PUT", "/records/hostile/x", '{"a": ' + HALF + "}", 422, "body_invalid"),
        ("PUT", "/records/hostile/x", "[" * 100_000, 422, "body_invalid"),
        ("POST", "/tools/count_notes/runs", call(version=HUGE), 404, "version_not_found"),
        ("POST", "/tools/count_notes/runs", call(version=0), 404, "version_not_found"),
        ("POST", "/tools/count_notes/runs", call(wait_s=-1), 422, "body_invalid"),
        ("POST", "/tools/count_notes/runs", call(more=1), 422, "body_invalid"),
        ("POST", "/tools/count_notes/runs", "", 422, "body_invalid"),
        ("POST", "/tools/count_notes/runs", "[]", 422, "body_invalid"),
        ("POST", "/tools/count_notes/rollbacks", '{"reason": "because", "version": ' + str(HUGE) + "}", 404, "version_not_found"),
        ("POST", "/tools/count_notes/rollbacks", '{"reason": ' + HALF + "}", 422, "body_invalid"),
        ("POST", "/tools/count_notes/rollbacks", '{"reason": ' + NUL + "}", 422, "body_invalid"),
        ("POST", "/tools/count_notes/versions", '{"candidate_id": ' + HALF + "}", 422, "body_invalid"),
        ("POST", "/tools/count_notes/versions", '{"candidate_id": ' + NUL + "}", 422, "body_invalid"),
        ("POST", "/tools/count_notes/generations", '{"brief": ' + HALF + "}", 422, "body_invalid"),
        ("POST", "/tools/count_notes/candidates", f'{{"files": {FILES}, "notes": {HALF}}}', 422, "body_invalid"),
        ("POST", "/tools/count_notes/candidates", f'{{"files": {FILES}, "notes": {NUL}}}', 422, "body_invalid"),
        ("POST", "/tools/count_notes/candidates", f'{{"files": {FILES}, "spec_revision": {HUGE}}}', 404, "spec_not_found"),
        ("POST", "/keys", '{"name": ' + NUL + ', "permissions": []}', 422, "body_invalid"),
        ("GET", "/runs?limit=0", None, 422, "limit_invalid"),
        ("GET", f"/runs?limit={HUGE}", None, 422, "limit_invalid"),
        ("GET", "/runs?limit=many", None, 422, "request_invalid"),
        ("GET", "/runs?cursor=nonsense", None, 422, "cursor_invalid"),
        ("GET", "/audit?cursor=x", None, 422, "cursor_invalid"),
        ("GET", "/audit?limit=501", None, 422, "limit_invalid"),
        ("GET", "/keys?cursor=x", None, 422, "cursor_invalid"),
        ("GET", "/keys?limit=0", None, 422, "limit_invalid"),
        ("GET", "/candidates?cursor=x", None, 422, "cursor_invalid"),
        ("GET", "/candidates?limit=-1", None, 422, "limit_invalid"),
        ("GET", "/audit?since=yesterday", None, 422, "filter_invalid"),
        ("GET", "/audit?outcome=x", None, 422, "filter_invalid"),
        ("GET", "/runs?tool=%00", None, 422, "request_invalid"),
        ("GET", "/runs/%00", None, 422, "request_invalid"),
        ("GET", f"/runs/{'x' * 5000}", None, 404, "run_not_found"),
        ("GET", "/nothing", None, 404, "route_not_found"),
        ("PATCH", "/runs", None, 405, "method_not_allowed"),
    ],
)
def test_a_hostile_request_is_refused_by_a_code(site: Site, method: str, path: str, body: str | None, status: int, code: str) -> None:
    answer = site.ask(method, path, content=body)
    found = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), found
    assert answer.headers["content-type"] == "application/problem+json"
    assert found["fix"], "it says what to do"
    assert found["status"] == status and found["trace_id"]
