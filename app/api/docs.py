"""`/docs`: the routes as one plain page, from the OpenAPI document; no script, no address of anybody else.

It refuses to be: a client. The document itself is at `/api/v1/openapi.json`.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "code,pre{font-family:ui-monospace,monospace}pre{overflow-x:auto;padding:.75rem;border:1px solid;border-radius:.4rem}"
    "section{border-top:1px solid;padding:.5rem 0}"
)


def docs_page(document: dict[str, Any]) -> str:
    """HTML of every operation: method, path, what it does, its parameters and its body."""
    parts = [
        _operation(method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "responses" in operation
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Toolmint REST</title><style>{_STYLE}</style><h1>Toolmint REST</h1>"
        "<p>Every path is under <code>/api/v1</code> and takes <code>Authorization: Bearer KEY</code>. Lists are "
        '<code>{"items", "next_cursor"}</code> and take <code>cursor</code> and <code>limit</code>. Errors are problem details (RFC 9457) '
        "with a stable <code>code</code>. Every POST takes <code>Idempotency-Key</code>. "
        'The <a href="/api/v1/openapi.json">OpenAPI document</a> is for machines.</p>'
        f"{''.join(parts)}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    names = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    query = f"<p>Query: {', '.join(f'<code>{escape(name)}</code>' for name in names)}</p>" if names else ""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    body = f"<pre>{escape(_fields(schema))}</pre>" if schema else ""
    return (
        f"<section><h2><code>{method} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}. "
        f"{escape(operation.get('description', ''))}</p>{query}{body}</section>"
    )


def _fields(schema: dict[str, Any]) -> str:
    required = schema.get("required", ())
    lines = []
    for name, field in schema.get("properties", {}).items():
        kinds = [_kind(part) for part in field.get("anyOf", [field])]
        lines.append(f"{name}{'' if name in required else '?'}: {' | '.join(kinds)}")
    return "\n".join(lines)


def _kind(part: dict[str, Any]) -> str:
    if "enum" in part:
        return " | ".join(json.dumps(value) for value in part["enum"])
    return str(part.get("type", "object"))
