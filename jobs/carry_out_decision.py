"""The job `carry_out_decision`: move the effects of a redrive or of a resolution, part by part.

It refuses to be: in a hurry. Each part is a short transaction of its own, so that calls and retries go on between them.
"""

from __future__ import annotations

import asyncio

from app.composition import Services
from app.runtime.redrives import carry_out


async def carry_out_decision(services: Services, decision_id: str) -> None:
    """Go on until it is completed."""
    while await asyncio.to_thread(carry_out, services.database, decision_id):
        pass
