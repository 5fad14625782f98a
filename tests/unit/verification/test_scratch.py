"""A verification's private folder goes with it, or with the next one where its process was killed."""

from __future__ import annotations

from pathlib import Path

from app.verification.scratch import scratch_folder


def test_folders_that_nobody_works_in_go_and_the_others_stay(tmp_path: Path) -> None:
    left = tmp_path / "bench-left"
    left.mkdir()
    (left / "stage.db").touch()
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])
    assert not list(tmp_path.iterdir())
