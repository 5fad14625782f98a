"""A verification's private folder goes with it, or with the next one where its process was killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.verification.scratch import scratch_folder


def test_folders_that_nobody_works_in_go_and_the_others_stay(tmp_path: Path) -> None:
    left = tmp_path / "bench-left"
    left.mkdir()
    (left / "stage.db").touch()

    async def worked() -> None:
        async with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
            assert await asyncio.to_thread(_there, tmp_path) == {first, second}

    asyncio.run(worked())
    assert not _there(tmp_path)


def test_a_folder_that_is_no_longer_wanted_when_it_is_made_goes_as_well(tmp_path: Path) -> None:
    async def wanted() -> None:
        async with scratch_folder(tmp_path):
            raise AssertionError("cancelled before")

    async def cancelled() -> None:
        task = asyncio.create_task(wanted())
        await asyncio.sleep(0)  # it has begun
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert not _there(tmp_path)


def _there(parent: Path) -> set[Path]:
    return set(parent.iterdir())
