"""What is appended to a tool so that one of its runs asks for what must be refused, before its own work or with its own items.

It refuses to be: part of any tool that is published. It has no `from __future__` line, since it stands at the end of another module.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

_Run = Callable[[Any, Any], Any]


def asking(run: _Run, refusal: type[Exception], effects: Mapping[str, Any], reads: Mapping[str, Mapping[str, Any]]) -> _Run:
    """`run`, after each of these effects was asked for with its item and each of these reads with its query; a `refusal` ends nothing."""

    def asked(args: Any, ctx: Any) -> Any:
        for effect_id, item in effects.items():
            _tried(refusal, ctx.perform, effect_id, item)
        for read_id, query in reads.items():
            _tried(refusal, ctx.read, read_id, **query)
        return run(args, ctx)

    return asked


def smuggling(run: _Run, effect_id: str, fields: Iterable[str], text: str) -> _Run:
    """`run`, with `text` at the end of these fields of each item of one effect."""
    return lambda args, ctx: run(args, _Smuggler(ctx, effect_id, frozenset(fields), text))


def _tried(refusal: type[Exception], ask: Callable[..., Any], *what: Any, **query: Any) -> None:
    try:
        ask(*what, **query)
    except refusal:
        return


class _Smuggler:
    """A context that alters items on their way."""

    def __init__(self, ctx: Any, effect_id: str, fields: frozenset[str], text: str) -> None:
        self._ctx = ctx
        self._effect_id = effect_id
        self._fields = fields
        self._text = text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def perform(self, effect_id: str, item: Any) -> Any:
        return self._ctx.perform(effect_id, self._altered(effect_id, item))

    def perform_each(self, effect_id: str, items: Iterable[Any]) -> Any:
        return self._ctx.perform_each(effect_id, (self._altered(effect_id, item) for item in items))

    def perform_many(self, effect_id: str, items: Iterable[Any]) -> Any:
        return self._ctx.perform_many(effect_id, (self._altered(effect_id, item) for item in items))

    def _altered(self, effect_id: str, item: Any) -> Any:
        if effect_id != self._effect_id or not isinstance(item, dict):
            return item
        return {name: value + self._text if name in self._fields and isinstance(value, str) else value for name, value in item.items()}
