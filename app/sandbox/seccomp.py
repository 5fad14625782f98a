"""Seccomp filters, generated as classic BPF without a library.

Two filters: `strict()` is an allow-list for the child that runs a tool; `broad()` is a deny-list over a whole sandbox, in which the fork
server, ruff, mypy and pytest must work. Both kill a process of a foreign machine mode (x32, int 80).

It refuses to be: a general assembler. Each rule looks at one call and at most one argument of it.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence

from app.sandbox.syscalls import AUDIT_ARCH, numbers

Instruction = tuple[int, int, int, int]

_LOAD, _JUMP_EQUAL, _JUMP_OVER, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM, _ENOSYS = 1, 38
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000

_ALLOWED = """
read write futex mmap munmap mprotect brk mremap madvise close fstat newfstatat stat lstat openat lseek pread64 readv writev getdents64
getcwd readlink readlinkat access faccessat faccessat2 statx dup poll ppoll select pselect6 rt_sigaction rt_sigprocmask rt_sigreturn
sigaltstack restart_syscall sched_yield nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times getrusage getrandom
getpid gettid getppid getuid geteuid getgid getegid uname sched_getaffinity set_robust_list rseq membarrier capget exit exit_group
"""
ALLOWED = tuple(_ALLOWED.split())
"""All that a running tool may ask of the kernel: memory, time, reading what is mounted, its channel, its end."""

ALLOWED_WITH: dict[str, tuple[int, tuple[int, ...]]] = {
    "ioctl": (1, (0x5401, 0x5451)),  # TCGETS (isatty), FIOCLEX
    "fcntl": (1, (1, 2, 3)),  # F_GETFD, F_SETFD, F_GETFL
    "prctl": (0, (21, 23, 39)),  # PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS: the proof looks from inside
}
"""Calls allowed for listed values of one argument: (argument, values)."""

_DENIED = """
acct add_key adjtimex bpf chroot clock_adjtime clock_settime create_module delete_module fanotify_init finit_module fsconfig fsmount
fsopen fspick get_mempolicy init_module inotify_init inotify_init1 io_uring_enter io_uring_register io_uring_setup ioperm iopl kcmp
kexec_file_load kexec_load keyctl lookup_dcookie mbind memfd_create memfd_secret migrate_pages mknod mknodat mount mount_setattr
move_mount move_pages mq_open mq_unlink msgget name_to_handle_at nfsservctl open_by_handle_at open_tree perf_event_open personality
pidfd_getfd pivot_root process_madvise process_vm_readv process_vm_writev ptrace query_module quotactl quotactl_fd reboot request_key
semget set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday shmget swapoff swapon _sysctl sysfs syslog
umount2 unshare uselib userfaultfd ustat vhangup
"""
DENIED = tuple(_DENIED.split())
"""What no program in a sandbox needs: kernel configuration, other processes, namespaces, keyrings, memory outside the limits."""

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (NEWTIME is for clone3 and unshare alone, which are refused)."""
_AF_UNIX = 1
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


def _do(code: int, value: int) -> Instruction:
    return code, 0, 0, value


def _test(code: int, value: int, skip_true: int, skip_false: int) -> Instruction:
    return code, skip_true, skip_false, value


def _argument(index: int) -> Instruction:
    """Load the low half: the arguments that we look at are 32-bit for the kernel too."""
    return _do(_LOAD, _ARGUMENTS_AT + 8 * index)


def _refuse(errno: int = _EPERM) -> Instruction:
    return _do(_RETURN, _ERRNO | errno)


def _permit() -> Instruction:
    return _do(_RETURN, _ALLOW)


def _by_number(bodies: Mapping[int, Sequence[Instruction]], otherwise: Instruction) -> list[Instruction]:
    """Run the body, which must return, of the call at hand; `otherwise` for all that have none.

    A search over spans of numbers rather than a walk along a list: the kernel runs a new filter once for every number that there is, and
    each run of a tool installs one.
    """
    spans: list[tuple[int, tuple[Instruction, ...]]] = [(0, (otherwise,))]
    for number in sorted(bodies):
        for start, body in ((number, tuple(bodies[number])), (number + 1, (otherwise,))):
            if spans[-1][0] == start:
                spans.pop()
            if not spans or spans[-1][1] != body:
                spans.append((start, body))
    return _search(spans)


def _search(spans: Sequence[tuple[int, Sequence[Instruction]]]) -> list[Instruction]:
    if len(spans) == 1:
        return list(spans[0][1])
    middle = len(spans) // 2
    below, above = _search(spans[:middle]), _search(spans[middle:])
    return [_test(_JUMP_OVER, spans[middle][0], len(below), 0), *below, *above]


def _prologue(machine: str) -> list[Instruction]:
    kill = _do(_RETURN, _KILL)
    start = [_do(_LOAD, _ARCH_AT), _test(_JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0), kill, _do(_LOAD, _NUMBER_AT)]
    if machine == "x86_64":
        start += [_test(_JUMP_OVER, _X32_BIT, 0, 1), kill]
    return start


def _only(argument: int, values: Sequence[int]) -> list[Instruction]:
    tests = [step for value in values for step in (_test(_JUMP_EQUAL, value, 0, 1), _permit())]
    return [_argument(argument), *tests, _refuse()]


def _assemble(program: Sequence[Instruction]) -> bytes:
    return b"".join(struct.pack("<HBBI", *step) for step in program)


def strict(machine: str | None = None, *, also: Sequence[str] = ()) -> bytes:
    """The allow-list for a child that runs a tool: no socket, no process, no thread, no writable thing but its channel.

    `also` adds calls by name. Everything else is EPERM, clone3 ENOSYS (so that the C library falls back to what is refused).
    """
    machine = machine or platform.machine()
    number = numbers(machine)
    bodies: dict[int, Sequence[Instruction]] = {number[name]: [_permit()] for name in ALLOWED if name in number}
    bodies |= {number[name]: _only(argument, values) for name, (argument, values) in ALLOWED_WITH.items()}
    bodies |= {number[name]: [_permit()] for name in also if name in number}
    bodies[number["clone3"]] = [_refuse(_ENOSYS)]
    return _assemble([*_prologue(machine), *_by_number(bodies, _refuse())])


def broad(machine: str | None = None, *, but: Sequence[str] = ()) -> bytes:
    """The deny-list over a whole sandbox: processes and threads may be made, namespaces, sockets of other families and the like not.

    `but` leaves named calls out of the list.
    """
    machine = machine or platform.machine()
    number = numbers(machine)
    bodies: dict[str, list[Instruction]] = {name: [_refuse()] for name in DENIED if name in number}
    bodies["clone3"] = [_refuse(_ENOSYS)]
    bodies["clone"] = [_argument(0), _test(_JUMP_BITS, _NEW_NAMESPACES, 0, 1), _refuse(), _permit()]
    bodies["socket"] = _only(0, [_AF_UNIX])
    bodies["ioctl"] = [
        _argument(1),
        *(step for command in _TERMINAL_INJECTION for step in (_test(_JUMP_EQUAL, command, 0, 1), _refuse())),
        _permit(),
    ]
    listed = {number[name]: body for name, body in bodies.items() if name not in but}
    return _assemble([*_prologue(machine), *_by_number(listed, _permit())])
