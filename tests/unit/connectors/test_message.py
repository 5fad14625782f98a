"""Rendering: what a mail program reads is what the item said, whatever its characters; no value becomes a header."""

from __future__ import annotations

import random
import time
import timeit
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr, parsedate_to_datetime
from typing import Any, cast

import pytest

from app.connectors.email_kind import email_kind, email_message_id
from app.connectors.message import render
from app.spec.schemas import compile_schema

CONFIG = {"from_domain": "example.com"}
AT = 1_772_355_600_000
ALPHABETS = (
    "abc XYZ 019",
    "äöüß éè",
    "Ελλάδα Москва",
    "日本語テキスト",
    "🎈👩‍👧 ",
    "=?.-_ \t<>@\"'\\;:,()[]",
    " .\n",
    "\n.\n..\n",
)


def parsed(config: dict[str, Any], item: dict[str, Any], message_id: str = "<a@example.com>") -> EmailMessage:
    letter = render(config, item, message_id, AT)
    assert b"\r" not in letter.data.replace(b"\r\n", b"") and b"\n" not in letter.data.replace(b"\r\n", b"")
    assert letter.data.endswith(b"\r\n")
    assert max(map(len, letter.data.split(b"\r\n"))) <= 998
    assert letter.data.partition(b"\r\n\r\n")[2].isascii()
    return message_from_bytes(letter.data, policy=policy.default)


def random_text(random_: random.Random, longest: int) -> str:
    alphabet = random_.choice(ALPHABETS)
    return "".join(random_.choice(alphabet) for _ in range(random_.randint(1, longest)))


def sender_name(config: dict[str, Any], item: dict[str, Any]) -> str:
    # The older parser: the newer one keeps the space between two encoded words of a name, against RFC 2047 section 6.2.
    message = message_from_bytes(render(config, item, "<a@example.com>", AT).data)
    name, _ = parseaddr(str(message["from"]).replace("\r\n", ""))
    return str(make_header(decode_header(name)))


def normal(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


def content(part: EmailMessage) -> str:
    return cast("bytes", part.get_payload(decode=True)).decode().replace("\r\n", "\n")


def test_random_messages_read_back_as_they_were_written() -> None:
    random_ = random.Random(5)
    for _ in range(600):
        item: dict[str, Any] = {
            "to": random_.choice(["ann@example.com", "o'neil+x@mail.example.org", "a" * 64 + "@" + "b" * 60 + ".example.com"]),
            "subject": random_text(random_, 200).replace("\n", " ").replace("\t", " "),
            "text": random_text(random_, 3000),
        }
        if random_.random() < 0.5:
            item["html"] = "<p>" + random_text(random_, 2000) + "</p>"
        config = {**CONFIG, "from_name": random_text(random_, 40).replace("\n", " ").replace("\t", " ").strip() or "x"}
        message = parsed(config, item)
        assert message["subject"] == item["subject"] or message["subject"].split() == item["subject"].split()
        assert message["to"].addresses[0].addr_spec == item["to"]
        assert message["from"].addresses[0].addr_spec == "no-reply@example.com"
        assert sender_name(config, item).split() == config["from_name"].split()
        if "html" in item:
            assert message.get_content_type() == "multipart/alternative"
            text, html = cast("list[EmailMessage]", list(message.iter_parts()))
            assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
            assert content(html) == normal(item["html"])
        else:
            text = message
        assert content(text) == normal(item["text"])
        assert not message.defects


def test_every_header_that_was_asked_for_is_there_once() -> None:
    item = {
        "to": "ann@example.com",
        "subject": "Spring",
        "text": "Hello",
        "reply_to": "shop@example.com",
        "list_unsubscribe": "https://example.com/u?c=1&r=ann%40example.com",
    }
    message_id = email_message_id("effect_1", CONFIG)
    message = parsed({**CONFIG, "from_local": "news", "from_name": 'The "Shop", Ltd.'}, item, message_id)
    assert message["from"] == '"The \\"Shop\\", Ltd." <news@example.com>'
    assert message["message-id"] == message_id
    assert parsedate_to_datetime(str(message["date"])).timestamp() * 1000 == AT
    assert message["reply-to"] == "shop@example.com"
    assert message["list-unsubscribe"] == f"<{item['list_unsubscribe']}>"
    assert message["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    assert sorted(map(str.lower, message.keys())) == sorted(set(map(str.lower, message.keys())))


def test_a_mailto_unsubscribe_promises_no_one_click() -> None:
    item = {"to": "a@example.com", "subject": "s", "text": "t", "list_unsubscribe": "mailto:u@example.com"}
    assert parsed(CONFIG, item)["list-unsubscribe-post"] is None


@pytest.mark.parametrize("evil", ["\r\nBcc: x@example.com", "\nX: 1", "\rX: 1", "a\x00b", "a\x0bb", "a\x1bb", "\x7f"])
def test_control_characters_never_reach_a_header(evil: str) -> None:
    good = {"to": "a@example.com", "subject": "s", "text": "t"}
    kind = email_kind(local=False)
    for field in ("to", "subject", "reply_to", "list_unsubscribe"):
        with pytest.raises(ValueError, match="control characters"):
            render(CONFIG, {**good, field: f"s{evil}"}, "<a@example.com>", AT)
    with pytest.raises(ValueError, match="control characters"):
        render({**CONFIG, "from_name": f"s{evil}"}, good, "<a@example.com>", AT)
    assert not compile_schema(dict(kind.item_schema)).accepts({**good, "subject": f"s{evil}"})
    assert not compile_schema(dict(kind.config_schema)).accepts({**CONFIG, "from_name": f"s{evil}"})


def test_a_body_that_holds_the_boundary_gets_another_boundary() -> None:
    message_id = email_message_id("e", CONFIG)
    boundary = "=_" + message_id[1:41]
    item = {"to": "a@example.com", "subject": "s", "text": f"x\n--{boundary}\ny\n--{boundary}--\n", "html": f"--{boundary}_"}
    message = parsed(CONFIG, item, message_id)
    assert [content(part) for part in cast("list[EmailMessage]", list(message.iter_parts()))] == [item["text"], f"--{boundary}_\n"]


def test_each_attempt_renders_the_same_bytes() -> None:
    item = {"to": "a@example.com", "subject": "Grüße", "text": "t", "html": "<b>t</b>"}
    assert render(CONFIG, item, "<a@b>", AT) == render(CONFIG, item, "<a@b>", AT)
    assert email_message_id("effect_1", CONFIG) == email_message_id("effect_1", CONFIG) != email_message_id("effect_2", CONFIG)


def test_only_a_name_beyond_ascii_before_the_at_sign_needs_smtputf8() -> None:
    item = {"subject": "Grüße", "text": "ü"}
    assert not render(CONFIG, {**item, "to": "a@xn--mller-kva.de"}, "<a@b>", AT).needs_utf8
    assert render(CONFIG, {**item, "to": "jörg@example.com"}, "<a@b>", AT).needs_utf8


def test_rendering_costs_tens_of_microseconds() -> None:
    item = {"to": "ann@example.com", "subject": "Spring", "text": "Dear Ann,\n" + "some words in a line\n" * 25, "html": "<p>ü</p>" * 50}
    rendered = timeit.Timer(lambda: render(CONFIG, item, "<abc@example.com>", AT), timer=time.thread_time)
    best = min(rendered.repeat(number=500, repeat=5)) / 500
    assert best < 200e-6
