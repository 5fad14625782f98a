"""The job `work_queue`: perform the effects that wait for another attempt and are due, and ask providers about unknown ones.

It refuses to be: about one effect. Whatever is due is taken, batch by batch, so its subject only names the wake-up.
"""

from __future__ import annotations

from app.composition import Services
from app.runtime import lookups
from app.runtime.queue import BATCH
from app.runtime.queue import work_queue as work_batch


async def work_queue(services: Services, _subject: str) -> None:
    """Go on until less than a batch was due."""
    while await work_batch(services.runtime) == BATCH:
        pass
    while await lookups.look_up_due(services.runtime) == lookups.BATCH:
        pass
