"""The job `verify_candidate`: run the gates on a waiting candidate and store its report.

It refuses to be: the line of gates. A candidate that another process has is left alone.
"""

from __future__ import annotations

from app.composition import Services
from app.verification import work


async def verify_candidate(services: Services, candidate_id: str) -> None:
    """Cancelled, as when the worker stops, it puts the candidate back into the queue."""
    verifier = work.Verifier(
        services.database, services.sandbox, services.settings, services.connectors.catalog, lambda: services.runtime.owner
    )
    await work.verify_candidate(verifier, candidate_id)
