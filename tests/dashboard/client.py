"""A client without a browser: signs in over HTTP and sends forms as a page would."""

from __future__ import annotations

import re

import httpx2

from tests.dashboard.site import Site

_TOKEN = re.compile(r'<meta name="csrf-token" content="([0-9a-f]{64})">')


class Client:
    """Cookies and token of one session; it follows no redirects by itself."""

    def __init__(self, site: Site, key: str | None = "") -> None:
        self.http = httpx2.Client(base_url=site.url, timeout=20)
        self.token = ""
        if key is not None:
            answer = self.http.post("/sign-in", data={"key": key or site.key})
            assert answer.status_code == 303, answer.text
            self.token = _TOKEN.findall(self.http.get("/runs").text)[0]

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, data: dict[str, str] | None = None, *, token: str | None = None, **headers: str) -> httpx2.Response:
        """A form with this session's token, unless another is given."""
        fields = {**(data or {}), "csrf_token": self.token if token is None else token}
        return self.http.post(path, data=fields, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def close(self) -> None:
        self.http.close()
