"""The job `generate_candidate`: have the model write a candidate for a generation.

It refuses to be: the writing. A worker without an API key leaves the generation to one that has it.
"""

from __future__ import annotations

import logging

from app.codegen.llm import configured
from app.codegen.writing import write_candidate
from app.composition import Services

logger = logging.getLogger(__name__)


async def generate_candidate(services: Services, generation_id: str) -> None:
    """Cancelled, it puts the generation back into the queue with the answers that it has."""
    if not services.settings.anthropic_api_key:
        logger.warning("no API key of a model here; %s waits", generation_id)
        return
    model = configured(services.settings)
    try:
        await write_candidate(services.database, model, services.connectors.catalog, generation_id, services.runtime.owner)
    finally:
        await model.close()
