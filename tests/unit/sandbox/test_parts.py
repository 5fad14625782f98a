"""Slots, staging and plans."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.errors import Invalid
from app.sandbox import cgroups, oneshot, slots, staging
from app.sandbox.diagnosis import advice, missing_flag
from app.sandbox.interpreter import Interpreter, Mount
from app.sandbox.launcher import Plan
from app.sandbox.sandbox import Sandbox

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs sandboxes under other uids")
PLAN = Plan(bwrap="/bin/bwrap", host_uid=None, mounts=(Mount("/host/thing", "/guest/thing"),))


@as_root
def test_two_sandboxes_never_share_a_uid() -> None:
    with slots.claim() as one, slots.claim() as two:
        assert one.uid != two.uid
        assert one.uid is not None
        assert two.uid is not None


@as_root
def test_what_lies_in_a_closed_folder_is_copied_to_where_it_can_be_read(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "program").write_text("x")
    assert not staging.readable(closed / "program", NOBODY)
    root = staging.staging_root(closed, NOBODY)
    copied = staging.staged(closed / "program", root, NOBODY)
    assert copied.read_text() == "x"
    assert staging.readable(copied, NOBODY)


def test_a_copy_is_made_once_and_again_when_its_source_changes(tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "below").mkdir(parents=True)
    (source / "below" / "file").write_text("one")
    first = staging.fingerprint(source)
    assert staging.fingerprint(source) == first
    (source / "below" / "file").write_text("longer")
    assert staging.fingerprint(source) != first


def test_a_plan_unshares_everything_and_ends_read_only() -> None:
    words = PLAN.argv(["python"], seccomp_fd=7, files={})
    for name in ("user", "pid", "net", "ipc", "uts", "cgroup"):
        assert f"--unshare-{name}" in words
    for flag in ("--die-with-parent", "--new-session", "--disable-userns", "--clearenv"):
        assert flag in words
    text = " ".join(words)
    assert "--cap-drop ALL" in text
    assert "--ro-bind /host/thing /guest/thing" in text
    assert text.index("--remount-ro /") > text.index("--ro-bind /host/thing")
    assert text.endswith("--seccomp 7 -- python")
    assert "--bind" not in words


def test_a_sandbox_has_no_proc_and_no_tmp() -> None:
    words = PLAN.argv(["python"], seccomp_fd=None, files={})
    assert not {"--proc", "/proc", "/tmp", "--dev"} & set(words)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "", ".", "nul\0byte"])
def test_a_file_cannot_be_put_outside_the_work_folder(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        oneshot.place({name: "x"})
    assert caught.value.code == "bad_file_name"


def test_the_first_word_names_a_program_of_the_sandbox() -> None:
    interpreter = Interpreter("system", "/usr/bin/python3.11", "/usr/bin/python3.11")
    assert oneshot.resolve(["python", "-m", "mypy"], interpreter) == ["/usr/bin/python3.11", "-s", "-S", "-P", "-B", "-m", "mypy"]
    assert oneshot.resolve(["ruff", "check"], interpreter) == ["/guest/bin/ruff", "check"]


def test_advice_names_what_to_change() -> None:
    assert "CAP_SETUID" in advice("setpriv: setresuid failed: Operation not permitted")
    assert "doctor" in advice("something nobody has seen")


@pytest.mark.parametrize(
    ("said", "flag"),
    [
        (
            "bwrap: No permissions to create new namespace, likely because …",
            "seccomp=docs/seccomp-nested-sandbox.json",
        ),
        ("bwrap: Creating new namespace failed: Operation not permitted", "seccomp=docs/seccomp-nested-sandbox.json"),
        ("bwrap: Failed to make / slave: Permission denied", "apparmor=unconfined"),
        ("bwrap: pivot_root(/newroot): Permission denied", "apparmor=unconfined"),
        ("bwrap: cannot open /proc/sys/user/max_user_namespaces: Read-only file system", "systempaths=unconfined"),
    ],
)
def test_the_flag_that_a_container_lacks_is_named_and_the_dockerfile_has_it(said: str, flag: str) -> None:
    assert f"--security-opt {flag}" in missing_flag(said)
    assert f"--security-opt {flag}" in (Path(__file__).parents[3] / "Dockerfile").read_text(encoding="utf-8")


def test_a_sandbox_in_the_background_begins_by_standing_back() -> None:
    usual, behind = (replace(PLAN, background=background).argv(["x"], seccomp_fd=None, files={}) for background in (False, True))
    assert Path(behind[0]).name == "chrt" and behind[-len(usual) :] == usual


def test_a_group_in_the_background_stands_back_as_a_whole() -> None:
    group = cgroups.create_background()
    try:
        idle = [Path(folder, "cpu.idle") for folder in group.folders if Path(folder, "cpu.idle").exists()]
        assert all(path.read_text().strip() == "1" for path in idle) and len(idle) >= ("cpu" in cgroups.parents())
    finally:
        asyncio.run(group.remove())


def _grouped(pid: int) -> bool:
    return "toolmint-" in Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.parametrize("background", [False, True])
def test_a_checker_stands_back_where_the_sandbox_beside_it_does(tmp_path: Path, background: bool) -> None:
    async def policy() -> tuple[int, bool]:
        async with Sandbox(tmp_path, background=background).aside() as place:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
            place(process.pid)
            found = os.sched_getscheduler(process.pid), _grouped(process.pid)
            await process.communicate(b"\n")
            return found

    grouped = background and bool({"cpu", "unified"} & cgroups.parents().keys())
    assert asyncio.run(policy()) == (os.SCHED_IDLE if background else os.SCHED_OTHER, grouped)


def test_groups_of_processes_that_are_no_more_are_removed_with_what_still_runs_in_them_and_no_others() -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], check=True, capture_output=True, text=True
    ).stdout.strip()
    here = Path("/proc/self/ns/pid").stat().st_ino
    left = [parent / f"toolmint-{gone}-{here}-abcd-1" for parent in cgroups.parents().values()]
    elsewhere = [parent / f"toolmint-{gone}-{here + 1}-abcd-1" for parent in cgroups.parents().values()]  # of another pid namespace
    group = cgroups.create_background()
    with subprocess.Popen(["sleep", "600"]) as deserted, subprocess.Popen(["sleep", "600"]) as ours:
        for folder in left + elsewhere:
            folder.mkdir(exist_ok=True)
        cgroups.Group(tuple(map(str, left))).take(deserted.pid)
        group.take(ours.pid)
        try:
            asyncio.run(cgroups.clear())
            assert deserted.poll() == (-signal.SIGKILL if left else None)
            assert not any(folder.exists() for folder in left)
            assert ours.poll() is None and all(Path(folder).exists() for folder in [*group.folders, *map(str, elsewhere)])
        finally:
            for folder in elsewhere:
                folder.rmdir()
            deserted.kill()
            ours.kill()
    asyncio.run(group.remove())
