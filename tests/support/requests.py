"""Requests to connectors as the runtime makes them."""

from __future__ import annotations

from typing import Any

from app.connectors.port import EffectPort, Request

EMAIL_CONFIG = {"from_domain": "example.com"}


def request_for(
    port: EffectPort,
    config: dict[str, Any],
    item: dict[str, Any],
    *,
    effect_id: str = "effect_1",
    effect: str = "send",
    deadline: int = 1 << 62,
) -> Request:
    """A first attempt at the canonical form of `item`."""
    return Request(
        effect_id=effect_id,
        tenant="default",
        tool="tool",
        effect=effect,
        connector=port.kind.name,
        config=config,
        item=port.canonical(config, item),
        message_id=port.message_id(effect_id, config),
        attempt=1,
        deadline=deadline,
    )


def email_to(address: str, **fields: Any) -> dict[str, Any]:
    """A small e-mail."""
    return {"to": address, "subject": "Spring", "text": "Hello\n.\n..dots\n", **fields}
