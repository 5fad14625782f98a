"""A whole Toolmint: `toolmint up` as a process of its own with a home of its own, and clients of it over HTTP.

It refuses to be: a shortcut. Everything goes through REST or MCP with a key, as a user's would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.support.supervised import Supervised, launch
from tests.support.waiting import until

READY_S = 60.0
KEPT = httpx2.Limits(keepalive_expiry=2)
"""Idle connections are left sooner than the server closes them (5 s): a request that comes just then would be lost."""


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
    """A running service and a client of it. `admin` is the operator's first key."""

    process: Supervised
    client: httpx2.Client

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def home(self) -> Path:
        return self.process.home

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.supervisor.pid

    @property
    def admin(self) -> Rest:
        return self.as_key((self.home / "admin.key").read_text().strip())

    def as_key(self, key: str) -> Rest:
        return Rest(self.client, key)

    def new_key(self, name: str, *permissions: str) -> Rest:
        """A key of its own with these permissions."""
        made = self.admin.post("/keys", {"name": name, "permissions": list(permissions)})
        return self.as_key(made["key"])

    def stop(self) -> None:
        self.client.close()
        self.process.stop()


def start_service(home: Path, port: int | None = None, /, **settings: str) -> Service:
    """`toolmint up` on a home of its own, without the bundled tools unless told; returns once every check of `/readyz` passes."""
    process = launch(home, port, **settings)
    until(lambda: process.get("/readyz", 2)[0] == 200 or not process.supervisor.alive, READY_S, "the service is ready")
    if not process.supervisor.alive:
        raise RuntimeError(f"the service ended: {process.log[-3000:]}")
    return Service(process, httpx2.Client(base_url=process.url, timeout=120, limits=KEPT))


@contextmanager
def whole_service(home: Path, /, **settings: str) -> Iterator[Service]:
    """`start_service`, stopped at the end."""
    started = start_service(home, None, **settings)
    try:
        yield started
    finally:
        started.stop()
