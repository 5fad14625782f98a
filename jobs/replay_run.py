"""The job `replay_run`: play a run again from its journal and record the report.

It refuses to be: where a run is replayed. A replay that another worker holds is left alone.
"""

from __future__ import annotations

from app.composition import Services
from app.runtime.replaying import carry_out


async def replay_run(services: Services, replay_id: str) -> None:
    """Cancelled, as when the worker stops, it leaves the replay to the next one, which begins it anew."""
    await carry_out(services.runtime, replay_id)
