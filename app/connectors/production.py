"""The connectors that a service runs with.

It refuses to be: a registry that grows at run time. What is here is what specs may name.
"""

from __future__ import annotations

from app.connectors.outbox import OutboxEffect
from app.connectors.port import Connectors, EffectPort, ReadPort, Started
from app.connectors.records import RecordsGet, RecordsPut, RecordsPutMany, RecordsQuery
from app.connectors.smtp import SmtpEffect
from app.connectors.smtp_server_url import parse_smtp_url
from app.core.db import Database
from app.core.settings import Settings


def production(settings: Settings, database: Database) -> Connectors:
    """All connectors, with e-mail over SMTP where `smtp_url` is set, else into the built-in outbox.

    Raises Invalid `smtp_url_invalid`.
    """
    reads: list[ReadPort] = [RecordsGet(), RecordsQuery()]
    effects: list[EffectPort] = [RecordsPut(), RecordsPutMany()]
    parts: list[Started] = []
    if settings.smtp_url:
        smtp = SmtpEffect(parse_smtp_url(settings.smtp_url), settings.smtp_connections, database.clock)
        effects.append(smtp)
        parts.append(smtp)
    else:
        effects.append(OutboxEffect())
    return Connectors({port.kind.name: port for port in reads}, {port.kind.name: port for port in effects}, parts=tuple(parts))
