"""The scripted twins: each cue is given when it should be, and what happened in the scripted world is told in order."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from app.connectors.port import Reply, is_local, is_remote
from app.connectors.production import production
from app.connectors.scripted import ScriptedConnectors, ScriptedCrash, scripted
from app.core.actor import SYSTEM
from app.core.db import Database
from app.core.errors import NotFound
from app.core.settings import Settings
from app.records.reading import get_record
from tests.support.requests import EMAIL_CONFIG, email_to, request_for


def send(twins: ScriptedConnectors, address: str, effect_id: str = "e1", effect: str = "send") -> Reply:
    port = twins.effects["email.send"]
    assert is_remote(port)
    return asyncio.run(port.perform(request_for(port, EMAIL_CONFIG, email_to(address), effect_id=effect_id, effect=effect)))


def put(twins: ScriptedConnectors, database: Database, key: str) -> Reply:
    port = twins.effects["records.put"]
    assert is_local(port)
    with database.writing() as session:
        return port.perform(session, request_for(port, {"collection": "c"}, {"key": key, "body": {}}, effect="save"))


def cue(answer: str, effect: str = "send", **more: Any) -> dict[str, Any]:
    return {"effect": effect, "when": {"to": "Ann@Example.com"} if effect == "send" else {"key": "a"}, "answer": answer, **more}


def test_without_a_cue_a_mail_is_done_and_told() -> None:
    twins = scripted()
    assert send(twins, "Ann@example.com").verdict == "done"
    (performed,) = twins.performed
    assert (performed.effect_id, performed.effect, performed.connector) == ("e1", "send", "email.send")
    assert performed.item["to"] == "ann@example.com"
    assert performed.message_id


@pytest.mark.parametrize(
    ("answer", "verdict", "happens"), [("refuse_now", "refused_now", 0), ("refuse_for_good", "refused", 0), ("lose_reply", "unknown", 1)]
)
def test_each_answer_of_a_remote_effect(answer: str, verdict: str, happens: int) -> None:
    twins = scripted([cue(answer)])
    assert [send(twins, "ann@example.com").verdict for _ in range(2)] == [verdict, verdict]
    assert len(twins.performed) == 2 * happens
    assert send(twins, "bob@example.com").verdict == "done"
    assert send(twins, "ann@example.com", effect="other").verdict == "done"


def test_what_a_gate_plays_is_answered_in_any_of_the_forms_of_real_servers_the_same_each_time() -> None:
    codes: dict[str, set[str]] = {}
    for number in range(60):
        for answer in ("refuse_now", "refuse_for_good", "lose_reply"):
            twins = scripted([{"effect": "send", "id": f"e{number}", "answer": answer}])
            first, second = (send(twins, "ann@example.com", f"e{number}") for _ in range(2))
            assert first == second and "script" not in f"{first}"
            codes.setdefault(answer, set()).add(first.code)
    assert codes == {
        "refuse_now": {"smtp_450", "smtp_451", "smtp_452"},
        "refuse_for_good": {"smtp_550", "smtp_552", "smtp_553", "smtp_554"},
        "lose_reply": {"smtp_disconnected", "smtp_timeout"},
    }


def test_no_two_mails_have_the_same_queue_id_and_each_has_one_as_servers_write_them() -> None:
    twins = scripted()
    receipts = [send(twins, "ann@example.com", f"e{number}").receipt or {} for number in range(20)]
    assert len({receipt["queue_id"] for receipt in receipts}) == 20
    for receipt in receipts:
        assert re.fullmatch(r"250 2\.0\.0 Ok: queued as 4[0-9A-Za-z]{14}", receipt["reply"]) and receipt["reply"].endswith(
            receipt["queue_id"]
        )


def test_a_crash_comes_once_after_the_mail_has_left() -> None:
    twins = scripted([cue("crash")])
    with pytest.raises(ScriptedCrash):
        send(twins, "ann@example.com")
    assert send(twins, "ann@example.com").verdict == "done"
    assert [performed.effect_id for performed in twins.performed] == ["e1", "e1"]


def test_a_crash_before_leaves_nothing() -> None:
    twins = scripted([cue("crash_before", times=2)])
    for _ in range(2):
        with pytest.raises(ScriptedCrash):
            send(twins, "ann@example.com")
    assert twins.performed == []
    assert send(twins, "ann@example.com").verdict == "done"


def test_a_cue_that_is_used_up_makes_room_for_the_next() -> None:
    twins = scripted([cue("refuse_now", times=2), cue("lose_reply", times=1)])
    assert [send(twins, "ann@example.com").verdict for _ in range(4)] == ["refused_now", "refused_now", "unknown", "done"]


def test_what_a_crash_does_may_be_chosen() -> None:
    class Died(Exception):
        pass

    def die() -> Any:
        raise Died

    with pytest.raises(Died):
        send(scripted([cue("crash")], die), "ann@example.com")


def test_a_crash_is_no_exception_that_a_handler_of_failures_would_catch() -> None:
    assert not issubclass(ScriptedCrash, Exception)


def test_local_effects_are_real_and_obey_the_script(sqlite_database: Database) -> None:
    refusing = scripted([cue("refuse_now", "save")])
    assert put(refusing, sqlite_database, "a").verdict == "refused_now"
    assert put(refusing, sqlite_database, "b").receipt == {"key": "b", "version": 1}
    crashing = scripted([cue("crash", "save")])
    with pytest.raises(ScriptedCrash):
        put(crashing, sqlite_database, "a")
    with pytest.raises(NotFound):
        get_record(SYSTEM, sqlite_database, "c", "a")
    assert put(crashing, sqlite_database, "a").verdict == "done"
    assert put(scripted([cue("lose_reply", "save")]), sqlite_database, "a").receipt == {"key": "a", "version": 2}
    assert crashing.performed == []


def test_there_is_a_twin_of_every_kind_with_the_same_schemas(sqlite_database: Database) -> None:
    for settings in (Settings(), Settings(smtp_url="smtp://127.0.0.1:25")):
        real, twins = production(settings, sqlite_database).catalog, scripted().catalog
        assert real.kinds.keys() == twins.kinds.keys()
        for name, kind in real.kinds.items():
            twin = twins.kinds[name]
            assert (kind.role, kind.config_schema, kind.item_schema, kind.canonical_fields) == (
                twin.role,
                twin.config_schema,
                twin.item_schema,
                twin.canonical_fields,
            )
