"""`toolmint audit verify`: the whole chain recomputed from the database.

It refuses to be: a repair. A broken chain is shown where it breaks, and stays.
"""

from __future__ import annotations

from app.cli.output import DONE, REFUSED, say
from app.composition import CHAIN
from app.core import migration
from app.core.db import Database
from app.core.settings import Settings
from app.observability.sealing import verify_chain


def verify(settings: Settings) -> int:
    """Print what the chain covers, and status 1 with the first break if it does not hold."""
    database = Database(settings.database)
    migration.check(database)
    report = verify_chain(database, CHAIN)
    say(f"{report.events} events in {report.links} links, {report.unsealed} not linked yet, {report.erased_bodies} bodies erased")
    say(f"head {report.head}")
    if report.broken is not None:
        say(f"BROKEN at link {report.broken.link}: {report.broken.what}, {report.broken.detail}")
        return REFUSED
    say("The chain is intact.")
    return DONE
