"""The connectors that a service runs with.

It refuses to be: a registry that grows at run time. What is here is what specs may name.
"""

from __future__ import annotations

from app.connectors.connections import Connections
from app.connectors.http_request import HttpRequest
from app.connectors.notify import NotifySend
from app.connectors.opening import Directory
from app.connectors.outbox import OutboxEffect
from app.connectors.port import Connectors, EffectPort, LaneLimits, ReadPort, Started
from app.connectors.records import RecordsGet, RecordsPut, RecordsPutMany, RecordsQuery, RecordsSnapshot
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_connected import ConnectedEmail
from app.connectors.smtp_server_url import parse_smtp_url
from app.connectors.vault import Vault
from app.core.db import Database
from app.core.settings import Settings


def connections_of(settings: Settings, database: Database) -> Connections:
    """The named connections of this installation."""
    return Connections(database, Vault(settings.home))


def production(settings: Settings, database: Database) -> Connectors:
    """All connectors, with e-mail over SMTP where `smtp_url` is set, else into the built-in outbox, or by a connection that a spec names.

    Raises Invalid `smtp_url_invalid`.
    """
    directory = Directory(connections_of(settings, database))
    reads: list[ReadPort] = [RecordsGet(), RecordsQuery()]
    connected = ConnectedEmail(directory, database.clock)
    http = HttpRequest(directory, database.clock)
    mail = _mail(settings, database)
    notify = NotifySend(database, directory, connected, mail)
    effects: list[EffectPort] = [RecordsPut(), RecordsPutMany(), RecordsSnapshot(), http, notify, mail or OutboxEffect()]
    parts: list[Started] = [*([mail] if mail else []), connected, http, notify]
    return Connectors(
        {port.kind.name: port for port in reads},
        {port.kind.name: port for port in effects},
        connected={connected.kind.name: connected},
        parts=tuple(parts),
    )


def _mail(settings: Settings, database: Database) -> SmtpEffect | None:
    if not settings.smtp_url:
        return None
    limits = LaneLimits(settings.smtp_domain_at_once or None, settings.smtp_domain_per_second or None)
    server = parse_smtp_url(settings.smtp_url)
    return SmtpEffect(server, settings.smtp_connections, database.clock, limits=None if limits == LaneLimits() else limits)
