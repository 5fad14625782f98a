"""A whole Toolmint: `toolmint up` as a process of its own with a home of its own, and clients of it over HTTP.

It refuses to be: a shortcut. Everything goes through REST or MCP with a key, as a user's would.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.support.processes import Child, start_module
from tests.support.waiting import until

READY_S = 60.0


class Refused(AssertionError):
    """The service answered with a problem; `problem` is its body."""

    def __init__(self, status: int, problem: Any) -> None:
        super().__init__(f"{status}: {json.dumps(problem)[:2000]}")
        self.status = status
        self.problem = problem


@dataclass(frozen=True)
class Rest:
    """REST with one key. Paths are below /api/v1; an answer that is no success raises Refused."""

    client: httpx2.Client
    key: str

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        content = options.pop("content", None)
        answer = self.client.request(method, f"/api/v1{path}", headers=headers, json=body, content=content, **options)
        if answer.status_code >= 400:
            raise Refused(answer.status_code, answer.json())
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else answer.text

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params={name: value for name, value in params.items() if value is not None})

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        return self.call("POST", path, body, **options)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body)

    def all(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, limit=500, **params)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


@dataclass(eq=False)
class Service:
    """A running service. `admin` is the operator's first key."""

    child: Child
    home: Path
    url: str
    client: httpx2.Client

    @property
    def admin(self) -> Rest:
        return self.as_key((self.home / "admin.key").read_text().strip())

    def as_key(self, key: str) -> Rest:
        return Rest(self.client, key)

    def new_key(self, name: str, *permissions: str) -> Rest:
        """A key of its own with these permissions."""
        made = self.admin.post("/keys", {"name": name, "permissions": list(permissions)})
        return self.as_key(made["key"])

    def ready(self) -> bool:
        """Whether every check passes."""
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx2.HTTPError:
            return False

    def pids(self, part: str) -> list[int]:
        """Descendants of the supervisor whose command line names `part`, such as `jobs.worker`."""
        found = []
        for pid in descendants(self.child.pid):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if part in command:
                found.append(pid)
        return found

    def stop(self) -> int:
        self.client.close()
        return self.child.stop()


def descendants(pid: int) -> list[int]:
    """Every live process below `pid`."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        below = parents.get(open_.pop(), [])
        found += below
        open_ += below
    return found


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_service(home: Path, env: Mapping[str, str] | None = None, *, port: int = 0, output: Path | None = None) -> Service:
    """`toolmint up` on a database of its own, without the bundled tools unless `env` says so; returns once it is ready."""
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    settings = {
        "TOOLMINT_HOME": str(home),
        "TOOLMINT_PORT": str(port),
        "TOOLMINT_TOOLS_DIR": str(home / "published"),
        "TOOLMINT_SAMPLES": "0",
        **(env or {}),
    }
    child = start_module("app.cli", "up", output=output or home / "service.log", env=settings)
    url = f"http://127.0.0.1:{port}"
    service = Service(child, home, url, httpx2.Client(base_url=url, timeout=120))
    until(lambda: service.ready() or not child.alive, READY_S, "the service is ready")
    if not child.alive:
        raise RuntimeError(f"the service ended: {child.text()[-3000:]}")
    return service


@contextmanager
def service(home: Path, env: Mapping[str, str] | None = None) -> Iterator[Service]:
    """`start_service`, stopped at the end."""
    started = start_service(home, env)
    try:
        yield started
    finally:
        started.stop()
