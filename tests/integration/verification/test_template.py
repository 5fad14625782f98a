"""The template of stages is made once, whoever asks first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.verification.template import template_database


def test_two_verifications_that_begin_at_once_share_one_template(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(template_database, [tmp_path, tmp_path])
    assert first == second and first.is_file()
    assert [path.suffix for path in (tmp_path / "verification").glob("*.db*")] == [".db"]
