"""The limits of one guest and of one verification process, as values.

It refuses to be: where a tool's own limits come from. The spec declares them; whoever opens a session passes them in.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20

INTERPRETER_MB = 40
"""Address space of the warm interpreter itself (measured 27 MiB), with room for an error to be told; added to what a tool declares."""


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one run may use: enforced by the kernel (memory, cpu) and by the host's session (all else)."""

    memory_mb: int = 256
    cpu_s: int = 60
    wall_s: float = 600.0
    frame_bytes: int = 8 * MIB
    """One frame from the guest: a chunk, a query or the result."""
    total_bytes: int = 4 << 30
    """All frames of one run from the guest."""
    logs: int = 1000
    """Log lines handed on; further ones are counted and dropped."""
    log_bytes: int = 8192
    """One log line; a longer one is dropped."""
    noise_bytes: int = 64 * MIB
    """All log and progress frames of one run; over it the run ends."""
    progress_interval_s: float = 0.05
    """Progress within this time of the last one handed on is dropped."""

    def rlimits(self) -> dict[str, int]:
        """The kernel's limits that differ from run to run; set in the child before the filter."""
        return {"AS": (self.memory_mb + INTERPRETER_MB) * MIB, "CPU": self.cpu_s}

    def of_template(self) -> dict[str, int]:
        """The same for the process that the runs of one tool are forked from, which spends time on each of them."""
        return {"AS": (self.memory_mb + INTERPRETER_MB) * MIB}


GUEST = GuestLimits()
"""What a spec's own defaults amount to."""

CHILD_RLIMITS = {"NPROC": 0, "NOFILE": 16, "FSIZE": 0, "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "STACK": 8 * MIB}
"""The same for every child of a fork server."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one verification sandbox may use, all its processes together where a cgroup can be made, else each."""

    memory_mb: int = 1024
    cpu_s: int = 120
    wall_s: float = 120.0
    """As long as it gets the processor; see `oneshot.PATIENCE` for a machine that is too busy."""
    processes: int = 64
    output_bytes: int = MIB
    """Standard output and standard error, each; over it the run ends."""
    disk_mb: int = 64
    """The writable tmpfs at /work, files given in included."""

    def rlimits(self) -> dict[str, int]:
        """Limits per process, and for NPROC per host uid; the address space is generous since it counts mappings."""
        return {
            "as": 4 * self.memory_mb * MIB,
            "cpu": self.cpu_s,
            "nproc": self.processes,
            "nofile": 256,
            "fsize": self.disk_mb * MIB,
            "core": 0,
            "memlock": 0,
            "msgqueue": 0,
        }


PROCESS = ProcessLimits()
"""Enough for mypy and pytest over one tool."""
