"""What a mail server's words mean: by reply code and enhanced code, and whether the domain wants a rest."""

from __future__ import annotations

import pytest

from app.connectors.smtp import asks_for_rest, judge
from app.connectors.smtp_connection import SmtpReply
from app.connectors.smtp_pool import Delivery

WORDS = [
    ("250 2.0.0 Ok: queued as ABC123", "done", False),
    ("421 4.3.0 closing", "refused_now", True),
    ("421 come back later", "refused_now", True),
    ("450 4.2.0 greylisted", "refused_now", False),
    ("451 4.7.1 greylisted, try again", "refused_now", True),
    ("451 4.7.650 too many from your network", "refused_now", True),
    ("452 4.3.2 system not accepting messages", "refused_now", True),
    ("452 4.2.2 mailbox full", "refused_now", False),
    ("550 5.1.1 no such user", "refused", False),
    ("550 no such user", "refused", False),
    ("552 5.2.2 mailbox full", "refused", False),
    ("554 5.7.1 refused by policy", "refused", False),
    ("554 4.7.1 try another time", "refused_now", True),
    ("550 5.7.8 credentials invalid", "refused_now", False),
    ("530 5.7.0 sign in first", "refused_now", False),
    ("521 5.3.2 takes no mail today", "refused_now", False),
]


@pytest.mark.parametrize(("words", "verdict", "rests"), WORDS)
def test_each_reply_gets_its_verdict(words: str, verdict: str, rests: bool) -> None:
    code, text = words.split(" ", 1)
    reply = SmtpReply(int(code), (text,))
    judged = judge(Delivery(reply))
    assert (judged.verdict, asks_for_rest(reply)) == (verdict, rests)
    if verdict == "done":
        assert judged.receipt == {"reply": words, "queue_id": "ABC123"}
    else:
        assert (judged.code, judged.message) == (f"smtp_{code}", words)


@pytest.mark.parametrize(
    ("words", "alone"),
    [
        ("450 mailbox busy", True),
        ("450 4.2.1 mailbox busy", True),
        ("452 4.2.2 mailbox full", True),
        ("451 4.7.1 greylisted, try again", True),
        ("421 4.7.0 too much for now", False),
        ("421 closing", False),
        ("451 4.3.0 local error", False),
        ("451 local error", False),
        ("452 4.3.1 disk full", False),
        ("550 5.1.1 no such user", False),
    ],
)
def test_a_refusal_that_is_about_one_mailbox_says_nothing_of_the_server(words: str, alone: bool) -> None:
    code, text = words.split(" ", 1)
    assert judge(Delivery(SmtpReply(int(code), (text,)))).alone is alone
