"""Tools as text and their conversations, for tests of the sandbox.

It refuses to be: a runtime. It answers what a test tells it to.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.sandbox.messages import CLOSING, REQUESTS
from app.sandbox.session import GuestSession

HOME = Path(__file__).resolve().parents[2] / ".toolmint" / "tests"
"""Kept between runs: only copies of programs live below it."""
NOW = 1_700_000_000_000
Message = dict[str, Any]


def files(body: str) -> dict[str, str]:
    """A tool whose `run(args, ctx)` has this body; lines are indented for it."""
    indented = body.strip().replace("\n", "\n    ")
    return {
        "contract.py": "Args = dict\n",
        "tool.py": f"import os, time\nfrom toolkit import Context\n\ndef run(args, ctx):\n    {indented}\n",
    }


def done(message: Message) -> Any:
    """The answer of a world where every read finds its query and every item is done."""
    if message["t"] == "read":
        return message["query"]
    return [{"status": "done", "receipt": {"item": item}} for item in message["items"]]


async def converse(session: GuestSession, args: Any = None, answer: Callable[[Message], Any] = done) -> list[Message]:
    """Start the session and answer until its closing message; all that the guest said."""
    await session.start(args, now=NOW, seed="5eed")
    said: list[Message] = []
    while not said or said[-1]["t"] not in CLOSING:
        said.append(await session.receive())
        if said[-1]["t"] in REQUESTS:
            await session.answer(answer(said[-1]), NOW + len(said))
    return said
