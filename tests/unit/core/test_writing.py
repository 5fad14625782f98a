"""What a write waits for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import Session

from app.core.db import Database

FULL, NORMAL, OFF = 2, 1, 0


def _synchronous(session: Session) -> Any:
    return session.connection().execute(sa.text("PRAGMA synchronous")).scalar()


@pytest.mark.parametrize(("durable", "relaxed", "usual"), [(True, NORMAL, FULL), (False, OFF, OFF)])
def test_a_write_that_need_not_be_durable_waits_for_no_disk_and_the_next_one_does(
    tmp_path: Path, durable: bool, relaxed: int, usual: int
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}", durable=durable)
    with database.writing(durable=False) as session:
        assert _synchronous(session) == relaxed
    with pytest.raises(ZeroDivisionError), database.writing(durable=False) as session:
        assert _synchronous(session) == relaxed
        raise ZeroDivisionError
    with database.writing() as session:
        assert _synchronous(session) == usual
    database.close()
