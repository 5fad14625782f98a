"""The job `verify_candidate`: run the gates on a waiting candidate and store its report.

It refuses to be: the line of gates. A candidate that another process has is left alone.
"""

from __future__ import annotations

from functools import partial

from app.composition import Services
from app.registry.catalog import Catalog
from app.registry.reading import signed_stable
from app.verification import work
from app.verification.subject import Replaced


async def verify_candidate(services: Services, candidate_id: str) -> None:
    """Cancelled, as when the worker stops, it puts the candidate back into the queue."""
    verifier = work.Verifier(
        services.database,
        services.sandbox,
        services.settings,
        services.connectors.catalog,
        lambda: services.runtime.owner,
        partial(_replaced, services.catalog),
    )
    await work.verify_candidate(verifier, candidate_id)


def _replaced(catalog: Catalog, tenant: str, tool: str) -> Replaced | None:
    """What answers callers of the stable channel; where nobody vouches for it there is nothing to compare with, and that is an error."""
    stable = signed_stable(catalog, tenant, tool)
    return Replaced(stable.version, stable.spec, stable.report, stable.tool) if stable is not None else None
