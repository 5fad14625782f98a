from tool import run
from toolkit.testing import trial

WORLD = {"records": {"customers": [{"key": "ann", "body": {"name": "Ann"}}]}}
NOTE = {"customer_id": "ann", "note_id": "call-1", "text": "Prefers calls in the morning."}


def test_a_new_note_is_kept() -> None:
    t = trial(run, NOTE, world=WORLD)
    assert t.result == {"added": 1}
    assert [effect["item"] for effect in t.effects] == [{"key": "ann/call-1", "body": {"text": NOTE["text"]}}]


def test_the_same_note_again_is_not_added() -> None:
    first = trial(run, NOTE, world=WORLD)
    assert trial(run, NOTE, after=first).result == {"added": 0}


def test_an_unknown_customer_is_refused() -> None:
    t = trial(run, NOTE)
    assert t.error is not None and t.error["code"] == "customer_not_found"
    assert t.effects == []


def test_a_crash_while_the_note_is_kept_neither_loses_nor_repeats_it() -> None:
    t = trial(run, NOTE, world=WORLD, script=[{"effect": "keep", "answer": "crash"}])
    assert t.crashes == 1
    assert t.result == {"added": 1}
    assert len(t.effects) == 1
