"""Attempts through system calls: what the two filters refuse, and what stands behind them."""

from __future__ import annotations

from tests.escape.attempt import Attempt

FILTERS = ("strict", "broad")

FILTERED = (
    Attempt("traces a process", "call('ptrace', 0, 0, 0, 0)", FILTERS),
    Attempt(
        "reads memory of a process by its number",
        "mine, other = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)\n"
        "one = (ctypes.c_void_p * 2)(ctypes.addressof(mine), 8); two = (ctypes.c_void_p * 2)(ctypes.addressof(other), 8)\n"
        "call('process_vm_readv', os.getpid(), one, 1, two, 1, 0)",
        FILTERS,
    ),
    Attempt("stores a key in the kernel's keyring", "call('add_key', b'user', b'toolmint', b'x', 1, -2)", FILTERS),
    Attempt("asks for the session keyring", "call('keyctl', 0, -3, 1)", FILTERS),
    Attempt("opens an io_uring", "os.close(call('io_uring_setup', 1, ctypes.create_string_buffer(120)))", (*FILTERS, "memlock")),
    Attempt("keeps memory in a memfd", "os.close(call('memfd_create', b'x', 0))", FILTERS),
    Attempt("asks for a shared memory segment", "call('shmget', 0, 4096, 0o1600)", FILTERS),
    Attempt("asks for a semaphore set", "call('semget', 0, 1, 0o1600)", FILTERS),
    Attempt("asks for a message queue", "call('msgget', 0, 0o1600)", FILTERS),
    Attempt("watches files", "os.close(call('inotify_init1', 0))", FILTERS),
    Attempt("compares kernel objects of processes", "call('kcmp', os.getpid(), os.getpid(), 0, 0, 0)", FILTERS),
    Attempt("changes its execution domain", "call('personality', 0x0040000)", FILTERS),
    Attempt("binds memory to a node", "call('set_mempolicy', 0, 0, 0)", FILTERS),
    Attempt("opens a netlink socket", "import socket; socket.socket(16, 3, 0)", FILTERS),
    Attempt("opens a vsock socket", "import socket; socket.socket(40, 1, 0)", FILTERS),
    Attempt("opens an internet socket", "import socket; socket.socket(socket.AF_INET)", FILTERS),
    Attempt("opens an IPv6 datagram socket", "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)", FILTERS),
    Attempt("opens a unix socket", "import socket; socket.socket(socket.AF_UNIX)", ("strict",)),
    Attempt("makes a socket pair", "import socket; socket.socketpair()", ("strict",)),
    Attempt("signals the fork server", "os.kill(os.getppid(), 0)", ("strict",)),
    Attempt("signals every process", "os.kill(-1, 0)", ("strict",)),
    Attempt("opens a handle on the fork server", "os.close(os.pidfd_open(os.getppid()))", ("strict",)),
    Attempt("raises its own priority limits", "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))", ("strict",)),
    Attempt("pins itself to a processor", "os.sched_setaffinity(0, os.sched_getaffinity(0))", ("strict",)),
    Attempt("renames itself", "_libc.prctl(15, b'kworker') == 0 or 1 / 0", ("strict",)),
    Attempt("changes its limits", "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))", ("strict",)),
    Attempt("changes the limits of the fork server", "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_NPROC)", ("strict",)),
    Attempt("sets an alarm", "import signal; signal.setitimer(signal.ITIMER_REAL, 100)", ("strict",)),
    Attempt("becomes another session", "os.setpgid(0, 0)", ("strict",)),
    Attempt("makes a timer descriptor", "os.close(call('timerfd_create', 1, 0))", ("strict",)),
    Attempt(
        "becomes another program",
        "os.set_inheritable(3, True)\n"
        'word = \'import os,struct; t=b\\\'{"t":"result","value":"escaped"}\\\'; os.write(3, struct.pack(">I", len(t)) + t)\'\n'
        "os.execv(host['python'], [host['python'], '-I', '-S', '-c', word])",
        ("strict",),
    ),
    Attempt("has itself signalled about its channel", "import fcntl; fcntl.fcntl(3, fcntl.F_SETOWN, os.getpid())", ("strict",)),
)

PROCESSES = (
    Attempt("forks", "os.fork() or os._exit(0)", ("strict", "nproc")),
    Attempt("starts a thread", "import _thread; _thread.start_new_thread(time.sleep, (0,))", ("strict", "nproc")),
    Attempt(
        "spawns a program",
        "os.posix_spawn(host['python'], [host['python'], '-I', '-S', '-c', ''], {})",
        ("strict", "nproc"),
    ),
    Attempt("clones by the old call", "call('clone', 17, 0, 0, 0, 0) or os._exit(0)", ("strict", "nproc")),
    Attempt(
        "runs a shell command", "import subprocess; subprocess.run([host['python'], '-I', '-S', '-c', ''], check=True)", ("strict", "nproc")
    ),
)

NAMESPACES = (
    Attempt("makes a user namespace", "call('unshare', 0x10000000)", ("strict", "broad", "nested")),
    Attempt("clones into a user namespace", "call('clone', 0x10000011, 0, 0, 0, 0) or os._exit(0)", ("strict", "broad", "nested", "nproc")),
    Attempt(
        "becomes root of a namespace of its own",
        "call('unshare', 0x10020000); call('mount', b'x', b'/guest', b'tmpfs', 0, 0)",
        ("strict", "broad", "nested"),
    ),
    Attempt("mounts a file system", "call('mount', b'x', b'/guest', b'tmpfs', 0, 0)", ("strict", "broad", "capabilities", "nested")),
    Attempt("unmounts its view", "call('umount2', b'/dev/zero', 2)", ("strict", "broad", "capabilities", "nested")),
    Attempt("changes its root", "call('chroot', b'/usr')", ("strict", "broad", "capabilities")),
    Attempt("renames the machine", "call('sethostname', b'mine', 4)", ("strict", "broad", "capabilities", "nested")),
    Attempt("makes a network namespace", "call('unshare', 0x40000000)", ("strict", "broad", "capabilities")),
    Attempt(
        "talks to a service of the host",
        "import socket; socket.create_connection(('127.0.0.1', host['port']), 2)",
        ("strict", "broad", "net"),
    ),
    Attempt(
        "talks to an abstract socket of the host", "import socket; socket.socket(1).connect(chr(0) + host['socket'])", ("strict", "net")
    ),
    Attempt("kills a process of the host", "os.kill(host['victim'], 0)", ("strict", "pid")),
    Attempt("opens a handle on a process of the host", "os.close(os.pidfd_open(host['victim']))", ("strict", "pid")),
    Attempt("attaches shared memory of the host", "call('shmget', host['shm_key'], 1, 0)", ("strict", "broad", "ipc")),
    Attempt("learns the name of the host", "os.uname().nodename == host['hostname'] or 1 / 0", ("uts",)),
    Attempt(
        "reads the fork server's memory",
        "mine, address = ctypes.create_string_buffer(8), id(os)\n"
        "one = (ctypes.c_void_p * 2)(ctypes.addressof(mine), 8); two = (ctypes.c_void_p * 2)(address, 8)\n"
        "call('process_vm_readv', os.getppid(), one, 1, two, 1, 0)",
        ("strict", "broad", "undumpable"),
    ),
)

ATTEMPTS = FILTERED + PROCESSES + NAMESPACES
