"""Tests that do nothing but wait are ended long before their gate is, and said to wait."""

from __future__ import annotations

import os
import select
import signal

import pytest

from app.verification.inside.run_tests import end_waiting, refuse_waiting, watch
from app.verification.tests_gate import finding_of

FOREVER_S = 60.0


def test_waiting_while_the_tests_are_imported_is_an_error_of_that_line() -> None:
    before = signal.getsignal(signal.SIGALRM)
    try:
        with pytest.raises(TimeoutError, match="waits"):
            watch(refuse_waiting, tick_s=0.02)
            select.select([], [], [], FOREVER_S)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_test_that_waits_is_ended_and_said_to_wait() -> None:
    pid = os.fork()
    if pid == 0:
        watch(end_waiting, tick_s=0.02)
        select.select([], [], [], FOREVER_S)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finding = finding_of({"name": "test_x", "line": 3, "outcome": "ended", "status": status})
    assert (finding.rule, finding.line) == ("test_waits", 3) and "now=" in finding.fix


def test_a_test_that_works_is_left_alone() -> None:
    pid = os.fork()
    if pid == 0:
        watch(end_waiting, tick_s=0.02)
        os._exit(sum(number * number for number in range(2_000_000)) % 2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
