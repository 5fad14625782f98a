"""How a guest can fail its host, as errors of the one tree.

It refuses to be: the failures of a tool. What a tool reports about itself (tool_error, crash) is a message, not an exception here.
"""

from __future__ import annotations

from app.core.errors import Failed, TooLarge


class GuestDied(Failed):
    """The guest's process ended without a closing word; `data` holds its exit status (negative: the signal)."""

    title = "The tool's process died"

    def __init__(self, exit_status: int | None, *, cpu_exceeded: bool = False) -> None:
        how = "its sandbox went away" if exit_status is None else f"exit status {exit_status}"
        super().__init__(
            "guest_cpu_exceeded" if cpu_exceeded else "guest_died",
            "the tool used up its CPU time" if cpu_exceeded else f"the tool's process ended before its run did ({how})",
            fix="look for an endless loop or raise the spec's limits" if cpu_exceeded else "",
            data={"exit": exit_status},
        )


class GuestTimedOut(Failed):
    """The guest did not finish within its wall time and was killed."""

    title = "The tool ran out of time"

    def __init__(self, wall_s: float) -> None:
        super().__init__(
            "guest_timed_out", f"the tool did not finish within {wall_s:g} s", fix="raise limits.timeout_s or do less in one run"
        )


class GuestBrokeProtocol(Failed):
    """The guest sent what is no message of the wire protocol and was killed."""

    title = "The tool broke the protocol"

    def __init__(self, what: str) -> None:
        super().__init__("guest_broke_protocol", f"the tool's process sent what the protocol does not know: {what}")


class GuestOutputTooLarge(TooLarge):
    """The guest sent more than its limits allow and was killed."""

    title = "The tool's output is too large"

    def __init__(self, what: str) -> None:
        super().__init__("guest_output_too_large", what, fix="return counts and a bounded sample; pass large data by reference")
