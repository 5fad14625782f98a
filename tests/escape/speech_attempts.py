"""Attempts on the host through what a child says on its channel."""

from __future__ import annotations

from collections.abc import Callable

from tests.escape.attempt import Attempt, Story

Verdict = Callable[[Story], bool]


def _heard(kind: str, more_than: int = 0) -> Verdict:
    """Whether the host handed on such messages."""
    return lambda story: sum(message.get("t") == kind for message in story.messages) > more_than


def _waited(story: Story) -> bool:
    """Whether the host went on reading until the child was gone."""
    return story.failure is not None and story.failure.code == "guest_died"


SHAPES = tuple(
    Attempt(name, f"say({message})", ("shapes",), _heard(kind))
    for name, kind, message in (
        ("sends an unknown kind of message", "shell", "t='shell', command='id'"),
        ("performs without an effect's name", "perform", "t='perform', step=1, items=[1]"),
        ("names an effect by a list", "perform", "t='perform', step=1, chunk=0, first=0, id=['x'], items=[1], last=True, each=False"),
        (
            "sends more than a chunk holds",
            "perform",
            "t='perform', step=1, chunk=0, first=0, id='x', items=[1] * 501, last=True, each=True",
        ),
        ("sends a chunk of nothing", "perform", "t='perform', step=1, chunk=0, first=0, id='x', items=[], last=True, each=True"),
        ("reads with a negative step", "read", "t='read', step=-1, id='x', query={}"),
        ("reads with a step that is a truth value", "read", "t='read', step=True, id='x', query={}"),
        ("reads with a step beyond all numbers", "read", "t='read', step=10 ** 30, id='x', query={}"),
        ("adds a field of its own", "read", "t='read', step=1, id='x', query={}, actor='root'"),
        ("answers for the host", "answer", "t='answer', now=0, value=1"),
        ("makes up its own traceback", "crash", "t='crash', type='X', message='', traceback=[{'file': '/x'}]"),
    )
)

BYTES = (
    Attempt("says what is no JSON", 'raw(frame(b\'{"t":"result","value":NaN}\'))', ("strict-json",), _heard("result")),
    Attempt("says half a character", 'raw(frame(b\'{"t":"result","value":"\\\\ud800"}\'))', ("strict-json",), _heard("result")),
    Attempt("announces two gigabytes", "raw(struct.pack('>I', 1 << 31)); time.sleep(0.4)", ("frame-size",), _waited),
    Attempt("returns a result over the limit", "return 'x' * 3_000_000", ("frame-size",), _heard("result"), {"frame_bytes": 1 << 20}),
)

FLOODS = (
    Attempt("sends without end", "for _ in range(400): ctx.log('x', text='y' * 5000)", ("total-size",), limits={"total_bytes": 1_000_000}),
    Attempt("logs without end", "for _ in range(400): ctx.log('x', text='y' * 5000)", ("noise",), limits={"noise_bytes": 1_000_000}),
    Attempt("logs more lines than are kept", "for n in range(50): ctx.log('x')", ("log-count",), _heard("log", 10), {"logs": 10}),
    Attempt("logs one huge line", "ctx.log('x', text='y' * 100_000)", ("log-size",), _heard("log")),
    Attempt("reports progress without end", "for n in range(500): ctx.progress(n, 1000)", ("progress-rate",), _heard("progress", 100)),
)

ATTEMPTS = SHAPES + BYTES + FLOODS
