"""What a running service says of itself: its counters, and the memory of its processes from /proc."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.service import Service

_COMMITS = re.compile(r"^toolmint_group_commit_items_count(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


def commits(service: Service) -> int:
    """Transactions of the group writers so far, in all processes."""
    answer = service.client.get("/metrics", headers={"Authorization": f"Bearer {service.admin.key}"})
    return round(sum(float(number) for number in _COMMITS.findall(answer.text)))


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory begin at what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_kb(pid: int) -> int:
    """The most memory (KiB, resident) that a process has had since `forget_peak`."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) if found else 0
