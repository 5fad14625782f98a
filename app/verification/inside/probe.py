"""How one run of a tool asks for what must be refused, before its own work or with its own items.

It refuses to be: part of any tool that is published. It has no `from __future__` line, since it stands at the end of another module.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

_Run = Callable[[Any, Any], Any]


def asking(run: _Run, effects: Mapping[str, Any], reads: Mapping[str, Mapping[str, Any]]) -> _Run:
    """`run`, after each of these effects was asked for with its item and each of these reads with its query; a refusal ends nothing."""

    def asked(args: Any, ctx: Any) -> Any:
        for effect_id, item in effects.items():
            _tried(ctx.perform, effect_id, item)
        for read_id, query in reads.items():
            _tried(ctx.read, read_id, **query)
        return run(args, ctx)

    return asked


def smuggling(run: _Run, effect_id: str, fields: Iterable[str], text: str) -> _Run:
    """`run`, with `text` at the end of these fields of each item of one effect."""
    names = frozenset(fields)

    def smuggled(args: Any, ctx: Any) -> Any:
        ctx._exchange = _Smuggler(ctx._exchange, effect_id, names, text)
        return run(args, ctx)

    return smuggled


def _tried(ask: Callable[..., Any], *what: Any, **query: Any) -> None:
    refusal: type[Exception] = import_module("toolkit").ToolError
    try:
        ask(*what, **query)
    except refusal:
        return


class _Smuggler:
    """The exchange of a context, on which items are altered on their way."""

    def __init__(self, exchange: Any, effect_id: str, fields: frozenset[str], text: str) -> None:
        self._exchange = exchange
        self._effect_id = effect_id
        self._fields = fields
        self._text = text

    def send(self, message: dict[str, Any]) -> None:
        if message["t"] == "perform" and message["id"] == self._effect_id:
            message = {**message, "items": [self._altered(item) for item in message["items"]]}
        self._exchange.send(message)

    def receive(self) -> Any:
        return self._exchange.receive()

    def _altered(self, item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        return {name: value + self._text if name in self._fields and isinstance(value, str) else value for name, value in item.items()}
