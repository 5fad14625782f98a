"""A whole service that tests of bad input share, with two tools published on it and a mail server that is not there.

It refuses to be: forgiving. A request that should be refused goes through `refused`, which asks for code, status and what to do.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.published import release_campaign
from tests.support.releases import ECHO_SPEC, ECHO_TESTS, ECHO_TOOL, import_customers
from tests.support.service import Refused, Rest, Service, whole_service
from tests.support.supervised import free_port
from tests.support.waiting import until

CUSTOMERS = 40
VERIFIED_S = 180
OVER = ("completed", "failed", "cancelled", "quarantined")


@dataclass
class Site:
    """The service, the port on which no mail server listens, and keys: an author's, a caller's, one that may nothing."""

    service: Service
    smtp_port: int
    author: Rest
    caller: Rest
    stranger: Rest

    @property
    def admin(self) -> Rest:
        return self.service.admin

    def run_over(self, run_id: str) -> dict[str, Any] | None:
        """The run once it is over; None while it is not."""
        run: dict[str, Any] = self.admin.get(f"/runs/{run_id}")
        return run if run["state"] in OVER else None

    def audited(self, **asked: str) -> list[dict[str, Any]]:
        """Events of the audit trail, newest first."""
        found: list[dict[str, Any]] = self.admin.get("/audit", limit=500, **asked)["items"]
        return found

    @asynccontextmanager
    async def mcp(self, key: Rest) -> AsyncIterator[Client]:
        """The official client with this key."""
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key.key}"}, timeout=60) as http,
            Client(streamable_http_client(f"{self.service.url}/mcp", http_client=http)) as client,
        ):
            yield client


def refused(call: Callable[[], Any], status: int, code: str) -> dict[str, Any]:
    """The problem that this request is answered with: of this status and code, and with a word on what to do."""
    with pytest.raises(Refused) as caught:
        call()
    problem: dict[str, Any] = caught.value.problem
    assert (caught.value.status, problem["code"]) == (status, code), problem
    assert problem["fix"] or any(error["fix"] for error in problem["errors"]), problem
    assert problem["detail"] and problem["trace_id"]
    return problem


def files(tool: str = ECHO_TOOL, tests: str = ECHO_TESTS) -> list[dict[str, str]]:
    """The two files of a submission."""
    return [{"path": "tool.py", "content": tool}, {"path": "test_tool.py", "content": tests}]


def small_spec() -> dict[str, Any]:
    """The trivial tool with room for texts that go over the limits of its arguments and of its result."""
    spec = copy.deepcopy(ECHO_SPEC) | {"permissions": ["texts:echo"], "limits": {"input_bytes": 256, "result_bytes": 64}}
    for schema in (spec["inputs"], spec["outputs"]):
        schema["properties"]["text"]["maxLength"] = 1000
    return spec


def publish_small(site: Site) -> None:
    """Publish it, as anybody would."""
    site.author.post("/specs", small_spec())
    candidate = site.author.post("/tools/echo/candidates", {"files": files()})["id"]
    path = f"/candidates/{candidate}"
    until(lambda: site.admin.get(path)["state"] not in ("queued", "verifying"), VERIFIED_S, "the tool is verified")
    assert site.admin.get(path)["state"] == "passed", site.admin.get(f"{path}/report")
    site.admin.post("/tools/echo/versions", {"candidate_id": candidate})


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The campaign tool and the trivial one, published on a service whose mail server cannot be reached."""
    port, home = free_port(), tmp_path_factory.mktemp("bad") / "home"
    release_campaign(home)
    with whole_service(home, TOOLMINT_SMTP_URL=f"smtp://sender:hidden-word@127.0.0.1:{port}") as service:
        author = service.new_key("author", "specs:write", "candidates:submit")
        caller = service.new_key("caller", "tools:call", "campaigns:send", "texts:echo")
        site = Site(service, port, author, caller, service.new_key("stranger", "tools:call"))
        publish_small(site)
        import_customers(service, CUSTOMERS)
        yield site
