"""The job `execute_run`: claim a waiting run and drive it to its end.

It refuses to be: where a run is executed. A run that another process holds is left alone.
"""

from __future__ import annotations

import asyncio

from app.composition import Services


async def execute_run(services: Services, run_id: str) -> None:
    """Cancelled, as when the worker stops, it lets the run leave at its next effect boundary and hands it on."""
    task = asyncio.ensure_future(services.runtime.execute(run_id))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        services.runtime.stop_run(run_id, "leave")
        await task
        raise
