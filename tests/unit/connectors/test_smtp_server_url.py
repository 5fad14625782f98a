"""The URL of the mail server: what is understood, and what is refused without being repeated."""

from __future__ import annotations

import pytest

from app.connectors.smtp_server_url import SmtpServer, parse_smtp_url
from app.core.errors import Invalid


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 25)),
        ("smtp://127.0.0.1:2525/", SmtpServer("127.0.0.1", 2525)),
        ("smtp://u:p@localhost:1", SmtpServer("localhost", 1, user="u", password="p")),
        ("smtp://u:p@[::1]:1", SmtpServer("::1", 1, user="u", password="p")),
        ("smtps://u%40x:p%3A%2F@mail.example.com", SmtpServer("mail.example.com", 465, "implicit", "u@x", "p:/")),
        ("smtp://u:p@mail.example.com:587?starttls=1", SmtpServer("mail.example.com", 587, "starttls", "u", "p")),
    ],
)
def test_urls_that_are_understood(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server
    assert "p:/" not in repr(parse_smtp_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com:25",
        "http://mail.example.com",
        "smtp://",
        "smtp://h:99999",
        "smtp://h:x",
        "smtp://h/path",
        "smtp://h?tls=1",
        "smtp://h?starttls=2",
        "smtps://h?starttls=1",
        "smtp://secretuser:secretpass@mail.example.com",
        "smtp://secretuser@127.0.0.1",
        "smtp://u:a%0Asecret@127.0.0.1",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(Invalid, match="smtp_url_invalid") as refused:
        parse_smtp_url(url)
    assert "secret" not in str(refused.value)
    assert refused.value.fix
