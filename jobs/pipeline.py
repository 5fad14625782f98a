"""THE table of stages: which job does what, how many at once, and which stage follows which.

A stage never starts the next one itself: the transaction that ends it writes the next one's outbox row, so that a worker may die
between any two.

It refuses to be: a workflow engine. What is due is asked of the tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.carry_out_decision import carry_out_decision
from jobs.execute_run import execute_run
from jobs.floor import Stage
from jobs.generate_candidate import generate_candidate
from jobs.replay_run import replay_run
from jobs.verify_candidate import verify_candidate
from jobs.work_queue import work_queue

STAGES: Mapping[str, Stage] = {
    "generate_candidate": Stage(generate_candidate, places=lambda _settings: 4, next=("verify_candidate",)),
    "verify_candidate": Stage(verify_candidate, places=lambda _settings: 1),
    "execute_run": Stage(execute_run, places=lambda settings: settings.worker_runs, next=("work_queue",)),
    "replay_run": Stage(replay_run, places=lambda _settings: 1),
    "carry_out_decision": Stage(carry_out_decision, places=lambda _settings: 1, next=("work_queue",)),
    "work_queue": Stage(work_queue, places=lambda _settings: 1),
}
