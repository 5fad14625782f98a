"""The filters, run by a small interpreter of classic BPF, so that both machines are covered on either."""

from __future__ import annotations

import struct

import pytest

from app.core.errors import Unavailable
from app.sandbox import seccomp
from app.sandbox.syscalls import AUDIT_ARCH, numbers

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
MACHINES = tuple(AUDIT_ARCH)


def verdict(program: bytes, number: int, arch: int, *arguments: int) -> int:
    """What the kernel would do with a call."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, arch, 0, *padded)
    steps = list(struct.iter_unpack("<HBBI", program))
    at, held = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (held,) = struct.unpack_from("<I", data, value)
            continue
        holds = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[code]
        at += if_true if holds else if_false


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["ptrace", "mount", "bpf", "keyctl", "io_uring_setup", "unshare", "setns", "memfd_create", "kexec_load"])
def test_both_filters_refuse_what_no_program_needs(machine: str, name: str) -> None:
    for program in (seccomp.strict(machine), seccomp.broad(machine)):
        assert verdict(program, numbers(machine)[name], AUDIT_ARCH[machine]) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_a_tool_may_read_write_and_end_but_make_nothing(machine: str) -> None:
    program, number, arch = seccomp.strict(machine), numbers(machine), AUDIT_ARCH[machine]
    for name in ("read", "write", "mmap", "openat", "exit_group", "clock_nanosleep"):
        assert verdict(program, number[name], arch) == ALLOW, name
    for name in ("clone", "socket", "socketpair", "prlimit64"):
        assert verdict(program, number[name], arch) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_number_that_nobody_listed_is_refused_to_a_tool(machine: str) -> None:
    assert verdict(seccomp.strict(machine), 4000, AUDIT_ARCH[machine]) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_a_checker_may_fork_but_not_into_a_namespace(machine: str) -> None:
    program, number, arch = seccomp.broad(machine), numbers(machine), AUDIT_ARCH[machine]
    assert verdict(program, number["clone"], arch, 17) == ALLOW
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(program, number["clone"], arch, flag | 17) == EPERM
    assert verdict(program, number["clone3"], arch) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_only_unix_sockets_can_be_made_by_a_checker(machine: str) -> None:
    program, number, arch = seccomp.broad(machine), numbers(machine), AUDIT_ARCH[machine]
    assert verdict(program, number["socket"], arch, 1) == ALLOW
    assert {verdict(program, number["socket"], arch, family) for family in (2, 10, 16, 17, 40)} == {EPERM}


@pytest.mark.parametrize("machine", MACHINES)
def test_allowed_calls_are_held_to_their_argument(machine: str) -> None:
    program, number, arch = seccomp.strict(machine), numbers(machine), AUDIT_ARCH[machine]
    assert verdict(program, number["ioctl"], arch, 0, 0x5401) == ALLOW
    assert verdict(program, number["ioctl"], arch, 0, 0x5412) == EPERM
    assert verdict(program, number["prctl"], arch, 21) == ALLOW
    assert verdict(program, number["prctl"], arch, 15) == EPERM


def test_a_call_in_a_foreign_mode_kills() -> None:
    for program in (seccomp.strict("x86_64"), seccomp.broad("x86_64")):
        assert verdict(program, 0, 0x40000003) == KILL  # int 80 of i386
        assert verdict(program, 0x40000000, AUDIT_ARCH["x86_64"]) == KILL  # x32


def test_an_unknown_machine_fails_closed() -> None:
    with pytest.raises(Unavailable) as caught:
        seccomp.strict("riscv64")
    assert caught.value.code == "machine_unsupported"
    assert "riscv64" in caught.value.detail
