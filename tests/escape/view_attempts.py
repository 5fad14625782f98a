"""Attempts on what a child can see, write, inherit and use up."""

from __future__ import annotations

from tests.escape.attempt import Attempt

VIEW = (
    Attempt("reads the host's accounts", "open('/etc/passwd').read(1)", ("view",)),
    Attempt("reads the host's configuration", "os.listdir('/etc')", ("view",)),
    Attempt("reads about the kernel", "open('/proc/version').read(1)", ("view",)),
    Attempt("lists the host's processes", "os.listdir('/proc/1')", ("view",)),
    Attempt("reads about devices", "os.listdir('/sys/class')", ("view",)),
    Attempt("reads a file of the service", "open(host['canary']).read(1)", ("view",)),
    Attempt("reads the service's source", "os.listdir(host['project'])", ("view",)),
    Attempt("climbs out of its folder", "open('/usr/lib/../../..' + host['canary']).read(1)", ("view",)),
    Attempt("finds a secret in its environment", "os.environ['TOOLMINT_CANARY']", ("environment",)),
)

WRITES = (
    Attempt("makes a file", "os.close(os.open('/mine', os.O_CREAT | os.O_WRONLY))", ("read-only",)),
    Attempt("makes a file beside the devices", "os.close(os.open('/dev/mine', os.O_CREAT | os.O_WRONLY))", ("read-only",)),
    Attempt("makes a folder", "os.mkdir('/folder')", ("strict", "read-only")),
    Attempt("makes a link", "os.symlink('/usr', '/link')", ("strict", "read-only")),
    Attempt("moves its view aside", "os.rename('/guest', '/away')", ("strict", "read-only")),
    Attempt("makes a named pipe", "os.mkfifo('/pipe')", ("strict", "broad", "read-only")),
    Attempt(
        "keeps data on disk",
        "fd = os.open('/data', os.O_CREAT | os.O_WRONLY)\nos.write(fd, b'x' * 4096) == 4096 or 1 / 0",
        ("read-only", "fsize"),
    ),
)

INHERITED = (
    Attempt("finds a descriptor beside its channel", "[os.fstat(fd) for fd in range(4, 1024) if ok(fd)] or 1 / 0", ("closes",)),
    Attempt(
        "reports to the host in the fork server's name",
        "report = json.dumps({'exit': 999999, 'status': 0, 'rss_kb': 0, 'cpu_ms': 0}).encode()\n"
        "[os.write(fd, report) for fd in range(4, 1024) if ok(fd)] or 1 / 0",
        ("closes",),
    ),
)

RESOURCES = (
    Attempt("takes more memory than declared", "bytearray(400 << 20)", ("memory",)),
    Attempt("maps more memory than declared", "import mmap; mmap.mmap(-1, 600 << 20)", ("memory",)),
    Attempt("doubles a text without end", "text = 'x'\nwhile len(text) < 300 << 20: text += text", ("memory",)),
    Attempt("spins", "spin(1.3)", ("cpu",), limits={"cpu_s": 1}),
    Attempt(
        "spins in one long C call",
        "import re; re.match(r'(a|a)*$', 'a' * 22 + 'b'); spin(1.3)",
        ("cpu",),
        limits={"cpu_s": 1},
    ),
    Attempt(
        "ignores the signal that ends its time",
        "import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN); spin(1.3)",
        ("cpu",),
        limits={"cpu_s": 1},
    ),
    Attempt("opens many files", "held = [open('/dev/null') for _ in range(100)]", ("nofile",)),
    Attempt("locks memory", "call('mlock', ctypes.create_string_buffer(4096), 4096)", ("strict", "memlock")),
    Attempt("sleeps past its time", "time.sleep(0.8)", ("wall",), limits={"wall_s": 0.3}),
    Attempt("waits for an answer to nothing", "import select; select.poll().poll(800)", ("wall",), limits={"wall_s": 0.3}),
)

ATTEMPTS = VIEW + WRITES + INHERITED + RESOURCES
