"""What the processes of a service are given. What they hold when they run is looked at in `test_supervisor`."""

from __future__ import annotations

import socket
from pathlib import Path

from app.cli.supervisor import _children
from app.core.settings import Settings
from tests.support.supervised import free_port


def test_redis_is_given_no_setting_of_ours(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=free_port())
    with socket.socket() as listener:
        redis = next(child for child in _children(settings, listener) if child.name == "redis")
    assert set(redis.environment) <= {"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH"}
