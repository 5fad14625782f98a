"""Who acts: the value that every use case takes first.

It refuses to be: an account. Keys, tokens and permissions in store live in `app.access`.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TENANT = "default"
EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Actor:
    """An authenticated caller: `id` is stable (`key_…`, `system`), `tenant` scopes everything that it can reach."""

    id: str
    name: str
    tenant: str
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        """Whether this actor holds `permission`; the permission `*` stands for every one."""
        return permission in self.permissions or EVERYTHING in self.permissions


SYSTEM = Actor("system", "system", DEFAULT_TENANT, frozenset({EVERYTHING}))
