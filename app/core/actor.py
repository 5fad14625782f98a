"""Who acts: the value that every use case takes first.

It refuses to be: an account. Keys, tokens and permissions in store live in `app.access`.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_TENANT = "default"
EVERYTHING = "*"
WITH_APPROVAL = "approval:"
"""Before a permission: held only for calls that carry an approval, such as `approval:tools:call`."""


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

    def may_ask(self, permission: str) -> bool:
        """Whether this actor holds `permission`, be it only for calls that carry an approval. It never stands for `may`."""
        return self.may(permission) or WITH_APPROVAL + permission in self.permissions

    @property
    def reach(self) -> frozenset[str]:
        """Every permission that this actor holds or may ask with."""
        return self.permissions | {name.removeprefix(WITH_APPROVAL) for name in self.permissions}


SYSTEM = Actor("system", "system", DEFAULT_TENANT, frozenset({EVERYTHING}))
