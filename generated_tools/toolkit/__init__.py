"""Everything a tool may import besides its own `contract` and an allow-listed part of the standard library.

    from contract import Args, Result
    from toolkit import Context

    def run(args: Args, ctx: Context) -> Result: ...

It refuses to be: a way to the outside world. A tool asks its host through `Context`; the host decides, performs and keeps the books.
"""

from __future__ import annotations

from .context import Cancelled, Context, Outcome, Status, ToolError

__all__ = ["Cancelled", "Context", "Outcome", "Status", "ToolError"]
