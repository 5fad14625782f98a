"""Which earlier call a call repeats: the identity by the caller's key, else by the spec's `run_key`, else none.

It refuses to be: the row. Whether the identity is taken is decided in the transaction that begins the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.actor import Actor
from app.core.errors import Invalid, Problem
from app.runtime.process import Identity
from app.spec.canonical import digest
from app.spec.expressions import compile_key, run_identity
from app.spec.model import ExecutionSpec

FORMAT = "run/1"
MOST_KEY = 200


def natural_key(spec: ExecutionSpec, args: Mapping[str, Any]) -> str | None:
    """The text of the spec's `run_key` for these arguments; None without one. Raises Invalid `key_unusable`."""
    if spec.run_key is None:
        return None
    return run_identity(compile_key(spec.run_key, ("args",)).evaluate(args))


def identity_of(actor: Actor, spec: ExecutionSpec, args: Mapping[str, Any], key: str | None) -> Identity | None:
    """`(tenant, tool, source, the actor if the caller sent the key, key)` as a digest, and the fingerprint of the canonical arguments.

    Raises Invalid `key_unusable`, and `args_invalid` for numbers that JSON cannot say exactly.
    """
    if key is not None:
        parts = [FORMAT, actor.tenant, spec.name, "caller", actor.id, key]
    else:
        natural = natural_key(spec, args)
        if natural is None:
            return None
        parts = [FORMAT, actor.tenant, spec.name, "spec", natural]
    try:
        fingerprint = digest(dict(args))
    except ValueError as error:
        raise Invalid("args_invalid", f"The arguments cannot be said exactly in JSON: {error}.", fix="Use numbers within 2**53.") from None
    return Identity(digest(parts), fingerprint, spec.run_key_ttl_s * 1000)


def check_key(key: str | None) -> str | None:
    """The caller's key as it came, None where it is empty. Raises Invalid `idempotency_key_invalid`."""
    if not key:
        return None
    if len(key) > MOST_KEY or not key.isprintable():
        problem = Problem("$.key", f"must be at most {MOST_KEY} printable characters", "Use a UUID, or an id of your own for this call.")
        raise Invalid("idempotency_key_invalid", "This idempotency key cannot be used.", problems=[problem])
    return key
