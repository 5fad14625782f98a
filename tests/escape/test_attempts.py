"""Every attempt fails in production's sandbox, fails before each of its defences alone, and succeeds once they are removed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.escape import kernel_attempts, speech_attempts, view_attempts
from tests.escape.arena import Arena, arena
from tests.escape.attempt import Attempt

ATTEMPTS = (*kernel_attempts.ATTEMPTS, *view_attempts.ATTEMPTS, *speech_attempts.ATTEMPTS)
ALONE = [(attempt, layer) for attempt in ATTEMPTS if len(attempt.layers) > 1 for layer in attempt.layers]


@pytest.fixture(scope="module")
def ring() -> Iterator[Arena]:
    """Not below pytest's folder: that is closed to other uids, and a removed defence must be what lets an attempt in."""
    with tempfile.TemporaryDirectory(prefix="toolmint-arena-") as folder, arena(Path(folder)) as held:
        yield held


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_production_refuses(ring: Arena, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    story = ring.run(attempt, frozenset(), monkeypatch)
    assert not attempt.succeeded(story), story


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.name)
def test_it_succeeds_without_its_defences(ring: Arena, attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    story = ring.run(attempt, frozenset(attempt.layers), monkeypatch)
    assert attempt.succeeded(story), story


@pytest.mark.parametrize(("attempt", "layer"), ALONE, ids=lambda value: value if isinstance(value, str) else value.name)
def test_one_defence_alone_refuses(ring: Arena, attempt: Attempt, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    story = ring.run(attempt, frozenset(attempt.layers) - {layer}, monkeypatch)
    assert not attempt.succeeded(story), story


def test_there_are_at_least_sixty_attempts() -> None:
    names = [attempt.name for attempt in ATTEMPTS]
    assert len(set(names)) == len(names) >= 60
