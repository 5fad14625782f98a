"""SMTP over TLS: from the first byte, or by STARTTLS; a certificate that is not trusted sends nothing."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from app.connectors.port import Reply
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.clock import SystemClock
from tests.support.certificates import write_certificate
from tests.support.requests import EMAIL_CONFIG, email_to, request_for
from tests.support.smtp import SmtpProcess

CLOCK = SystemClock()


def send_two(url: str, trusted: Path | None) -> list[Reply]:
    async def main() -> list[Reply]:
        context = ssl.create_default_context(cafile=trusted)
        effect = SmtpEffect(parse_smtp_url(url), 1, CLOCK, context)
        await effect.start()
        request = request_for(effect, EMAIL_CONFIG, email_to("ann@example.com"), deadline=CLOCK.monotonic() + 5000)
        try:
            return [await effect.perform(request) for _ in range(2)]
        finally:
            await effect.stop()

    return uvloop.run(main())


@pytest.mark.parametrize("way", ["implicit", "starttls"])
def test_mail_goes_over_tls_with_a_login(start_server: Callable[..., SmtpProcess], tmp_path: Path, way: str) -> None:
    certificate, key = write_certificate(tmp_path)
    options = ["--certificate", str(certificate), "--certificate-key", str(key), "--login", "shop:secret"]
    server = start_server(*options, *(["--tls"] if way == "implicit" else []))
    address = f"shop:secret@127.0.0.1:{server.port}"
    url = f"smtps://{address}" if way == "implicit" else f"smtp://{address}?starttls=1"
    assert [reply.verdict for reply in send_two(url, certificate)] == ["done", "done"]
    assert len(server.accepted()) == 2
    untrusted = send_two(url, None)
    assert {(reply.verdict, reply.code) for reply in untrusted} == {("refused_now", "smtp_unreachable")}
    assert len(server.accepted()) == 2


def test_a_server_without_starttls_gets_nothing_when_tls_was_asked_for(server: SmtpProcess) -> None:
    replies = send_two(f"smtp://127.0.0.1:{server.port}?starttls=1", None)
    assert {(reply.verdict, reply.code) for reply in replies} == {("refused_now", "smtp_session_refused")}
    assert server.accepted() == []
