"""A tool in its child, and the host that talks with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from app.core.errors import ToolmintError
from app.sandbox.failures import GuestBrokeProtocol, GuestDied, GuestOutputTooLarge, GuestTimedOut
from app.sandbox.limits import GuestLimits
from app.sandbox.sandbox import Sandbox
from tests.support.guests import HOME, NOW, converse, files

Play = Callable[..., Any]


def test_a_tool_reads_acts_and_returns(play: Play) -> None:
    body = """
found = ctx.read("template", key=args["key"])
outcome = ctx.perform("send", {"to": "a@example.com"})
ctx.log("sent", status=outcome.status)
ctx.progress(1, 1)
return {"found": found, "receipt": outcome.receipt, "now": ctx.now().isoformat()}
"""

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body))
        said = await converse(session, {"key": "spring"})
        assert [message["t"] for message in said] == ["read", "perform", "log", "progress", "result"]
        assert [message["step"] for message in said[:2]] == [1, 2]
        assert said[-1]["value"] == {
            "found": {"key": "spring"},
            "receipt": {"item": {"to": "a@example.com"}},
            "now": "2023-11-14T22:13:20+00:00",
        }
        usage = await session.close()
        assert usage.exit == 0
        assert usage.max_rss_kb > 1000
        assert usage.bytes_in > 0
        assert usage.bytes_out > 0

    play(scenario)


def test_thousands_of_items_flow_in_order(play: Play) -> None:
    body = "return [o.receipt['item'] for o in ctx.perform_each('send', ({'n': n} for n in range(args)))][-1]"

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body))
        said = await converse(session, 5000)
        assert said[-1]["value"] == {"n": 4999}
        assert [message["chunk"] for message in said[:-1]] == list(range(11))
        await session.close()

    play(scenario)


def test_large_requests_and_large_answers_do_not_wait_for_each_other(play: Play) -> None:
    body = "return sum(len(o.receipt['item']) for o in ctx.perform_each('send', ('x' * 200_000 for _ in range(40))))"

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body), GuestLimits(wall_s=30))
        said = await converse(session)
        assert said[-1]["value"] == 8_000_000
        await session.close()

    play(scenario)


def test_a_refused_call_is_a_business_error_of_the_tool(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files("ctx.perform('wipe', {})"))
        await session.start(None, now=NOW, seed="5eed")
        await session.receive()
        await session.refuse("effect_undeclared", "the spec names no effect wipe", NOW)
        assert await session.receive() == {"t": "tool_error", "code": "effect_undeclared", "message": "the spec names no effect wipe"}
        await session.close()

    play(scenario)


def test_cancellation_reaches_the_tool_at_its_next_call(play: Play) -> None:
    body = """
try:
    ctx.read("x")
except Exception:
    return "swallowed"
finally:
    ctx.log("cleaned_up")
"""

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body))
        await session.start(None, now=NOW, seed="5eed")
        await session.receive()
        await session.cancel()
        assert [(await session.receive())["t"], (await session.receive())["t"]] == ["log", "cancelled"]
        assert (await session.close()).exit == 0

    play(scenario)


def test_closing_ends_a_tool_that_makes_no_calls(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files("ctx.log('here')\nwhile True: pass"))
        await session.start(None, now=NOW, seed="5eed")
        assert (await session.receive())["t"] == "log"
        assert (await session.close()).exit == -9

    play(scenario)


@pytest.mark.parametrize(
    ("body", "limits", "failure", "code"),
    [
        ("os.write(3, b'\\x00\\x00\\x00\\x05hello')", {}, GuestBrokeProtocol, "guest_broke_protocol"),
        ("os.write(3, b'\\xff' * 100); time.sleep(5)", {}, GuestOutputTooLarge, "guest_output_too_large"),
        ("return 'x' * 9_000_000", {}, GuestOutputTooLarge, "guest_output_too_large"),
        ("os._exit(3)", {}, GuestDied, "guest_died"),
        ("import ctypes; ctypes.string_at(0)", {}, GuestDied, "guest_died"),
        ("time.sleep(30)", {"wall_s": 0.2}, GuestTimedOut, "guest_timed_out"),
        ("while True: pass", {"cpu_s": 1}, GuestDied, "guest_cpu_exceeded"),
        ("while True: ctx.log('x' * 100)", {"noise_bytes": 200_000}, GuestOutputTooLarge, "guest_output_too_large"),
    ],
)
def test_a_hostile_or_broken_tool_is_ended_and_named(
    play: Play, body: str, limits: dict[str, Any], failure: type[ToolmintError], code: str
) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body), GuestLimits(**limits))
        with pytest.raises(failure) as caught:
            await converse(session)
        assert caught.value.code == code
        with pytest.raises(failure):
            await session.receive()
        usage = await session.close()
        assert usage.exit is not None
        assert not session.alive
        again = await sandbox.session("other", files("return 1"))
        assert (await converse(again))[-1] == {"t": "result", "value": 1}
        await again.close()

    play(scenario)


def test_a_tool_that_runs_in_the_background_may_take_more_wall_time(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        behind = sandbox.apart(background=True)
        try:
            session = await behind.session("d", files("time.sleep(1.1); return 1"), GuestLimits(wall_s=1))
            assert (await converse(session))[-1] == {"t": "result", "value": 1}
            await session.close()
        finally:
            await behind.stop()

    play(scenario)


@pytest.mark.parametrize(
    ("body", "kind", "lines"),
    [
        ("return helper()\n\ndef helper():\n    return 1 / 0", "UnboundLocalError", [5]),
        ("x = 1\nctx.perform_many('send', (1 // 0 for _ in range(2)))", "ZeroDivisionError", [6, 6]),
        ("return {1, 2}", "TypeError", []),
        ("return float('nan')", "ValueError", []),
        ("raise SystemExit(4)", "SystemExit", [5]),
        ("return bytearray(400 << 20)", "MemoryError", [5]),
        ("return )", "SyntaxError", [5]),
    ],
)
def test_a_crash_tells_its_kind_and_the_tool_s_own_lines(play: Play, body: str, kind: str, lines: list[int]) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files(body))
        crash = (await converse(session))[-1]
        assert (crash["t"], crash["type"]) == ("crash", kind)
        assert [frame["line"] for frame in crash["traceback"]] == lines
        await session.close()

    play(scenario)


def test_nothing_of_one_run_is_seen_by_the_next(play: Play) -> None:
    body = "import json\nbefore = getattr(json, 'mark', None)\njson.mark = 1\nreturn before"

    async def scenario(sandbox: Sandbox) -> None:
        for _ in range(4):
            session = await sandbox.session("d", files(body))
            assert (await converse(session))[-1]["value"] is None
            await session.close()

    play(scenario)


def test_a_tool_cannot_tell_a_fresh_sandbox_from_a_shared_or_a_loaded_one(play: Play) -> None:
    body = """
import sys, resource
return [sorted(sys.modules), dict(os.environ), sys.argv, sys.path, sys.flags.hash_randomization, hash("a"), os.getuid(),
        os.uname().nodename, sorted(os.listdir("/")), time.tzname, sys.version, sys.executable,
        [ctx.new_id(), ctx.random.random(), str(ctx.now())], sorted(globals())]
"""

    async def scenario(sandbox: Sandbox) -> None:
        seen = []
        for fresh in (True, False, False, True):
            session = await sandbox.session("d", files(body), fresh=fresh)
            seen.append((await converse(session))[-1]["value"])
            await session.close()
        assert seen[0] == seen[1] == seen[2] == seen[3]

    play(scenario)


def test_it_runs_on_the_service_s_own_loop_too() -> None:
    async def scenario() -> Any:
        sandbox = Sandbox(HOME)
        await sandbox.start()
        session = await sandbox.session("d", files("return ctx.read('x', n=1)"))
        said = await converse(session)
        await session.close()
        await sandbox.stop()
        return said[-1]["value"]

    assert uvloop.run(scenario()) == {"n": 1}
