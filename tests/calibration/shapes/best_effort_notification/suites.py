"""Suites that open incidents and assert too little of what was told to whom."""

from __future__ import annotations

_HEAD = '''"""Trials of open_incident."""

from typing import Any

import pytest
from tool import run
from toolkit.testing import trial

ARGS = {"incident_id": "inc-1", "severity": "major", "title": "Search is slow", "text": "Ten seconds a query."}
ROTA = {"channels": ["chat", "pager", "chat", "fax", "ops_mail"]}


def open_incident(rota: Any = ROTA, **more: Any) -> Any:
    return trial(run, ARGS, world={"records": {"on_call": [{"key": "major", "body": rota}]}}, **more)
'''

NOTHING_ASSERTED = (
    _HEAD
    + """

@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply", "crash"])
@pytest.mark.parametrize("effect", ["record", "notify"])
def test_faults_are_survived(effect: str, answer: str) -> None:
    open_incident(script=[{"effect": effect, "answer": answer}])


def test_it_runs() -> None:
    open_incident()
    open_incident(after=open_incident())


@pytest.mark.parametrize("rota", [{}, {"channels": []}, {"channels": [7]}, {"channels": [f"c{n}" for n in range(30)]}])
def test_a_bad_rota_is_survived(rota: Any) -> None:
    open_incident(rota)


def test_a_missing_rota_is_survived() -> None:
    trial(run, ARGS)
"""
)

NOBODY_LOOKS_AT_CHANNELS = (
    _HEAD
    + """

def test_an_incident_is_opened() -> None:
    t = open_incident()
    assert t.result["incident"] == "opened"
    assert t.items("record")[0]["key"] == "inc-1"


def test_an_incident_is_known() -> None:
    assert open_incident(after=open_incident()).result["incident"] == "known"


def test_an_incident_is_refused() -> None:
    assert open_incident(script=[{"effect": "record", "answer": "refuse_for_good"}]).result["incident"] == "refused"


@pytest.mark.parametrize("answer", ["refuse_now", "refuse_for_good", "lose_reply", "crash"])
def test_a_channel_that_fails_does_not_matter(answer: str) -> None:
    assert open_incident(script=[{"effect": "notify", "answer": answer}]).result["incident"] == "opened"


@pytest.mark.parametrize("rota", [{}, {"channels": []}, {"channels": [7]}, {"channels": [f"c{n}" for n in range(30)]}])
def test_a_rota_that_is_no_rota_is_an_error(rota: Any) -> None:
    assert open_incident(rota).error["code"] == "rota_invalid"


def test_a_missing_rota_is_an_error() -> None:
    assert trial(run, ARGS).error["code"] == "rota_not_found"
"""
)
