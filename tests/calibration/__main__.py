"""`python -m tests.calibration`: correct tools and seeded defects before the gates; status 1 where less is seen than was asked."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from app.core.settings import Settings
from app.sandbox.sandbox import Sandbox
from tests.calibration.defect import Defect
from tests.calibration.judging import Judged, judge_defect, judge_tool
from tests.calibration.shape import Shape, shapes
from tests.calibration.table import broken_promises, line, printed


def main() -> int:
    options = _options()
    began = time.monotonic()
    chosen = [shape for shape in shapes() if not options.shape or shape.name in options.shape]
    some = options.defect or options.family or options.gate or options.grave
    tools = [] if some or options.defects else chosen
    wanted = [(shape, defect) for shape in chosen for defect in shape.defects if _is_wanted(defect, options)]
    defects = [] if options.tools else wanted
    if not tools and not defects:
        print("Nothing of that name.", file=sys.stderr)
        return 2
    print(f"==> {len(tools)} correct tools, one after the other; {len(defects)} defects, {options.at_once} at once", flush=True)
    with tempfile.TemporaryDirectory(prefix="toolmint-calibration-") as home:
        settings = Settings(home=Path(home))
        judged = asyncio.run(_judge_all(tools, defects, settings, options.at_once, full=options.full))
    print(f"\n{printed(judged, settings)}", flush=True)
    load = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} processors"
    print(f"\nIn {time.monotonic() - began:.0f} s, load of the last five minutes {load}", flush=True)
    broken = broken_promises(judged)
    print("\n".join(f"BROKEN  {promise}" for promise in broken) or "Every promise was kept.", flush=True)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--shape", action="append", metavar="NAME", help="this shape alone; may be given again")
    parser.add_argument("--defect", action="append", metavar="NAME", help="this defect alone; may be given again")
    parser.add_argument("--family", action="append", metavar="NAME", help="defects of this family alone")
    parser.add_argument("--gate", action="append", metavar="NAME", help="defects that this gate should see alone")
    parser.add_argument("--grave", action="store_true", help="grave defects alone")
    parser.add_argument("--tools", action="store_true", help="the correct tools alone")
    parser.add_argument("--defects", action="store_true", help="the defects alone")
    parser.add_argument("--full", action="store_true", help="the whole line for each defect, not the gates that should see it alone")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, metavar="N", help="defects at once; the number of processors")
    return parser.parse_args()


def _is_wanted(defect: Defect, options: argparse.Namespace) -> bool:
    asked = ((options.defect, {defect.name}), (options.family, {defect.family}), (options.gate, set(defect.gates)))
    return (defect.grave or not options.grave) and all(not names or bool(has & set(names)) for names, has in asked)


async def _judge_all(
    tools: Sequence[Shape], defects: Sequence[tuple[Shape, Defect]], settings: Settings, at_once: int, *, full: bool
) -> list[Judged]:
    """Correct tools alone on the machine, so that their times mean something; then the defects."""
    total = len(tools) + len(defects)
    judged: list[Judged] = []
    turn = asyncio.Semaphore(at_once)

    def told(each: Judged) -> None:
        judged.append(each)
        print(f"[{len(judged):>3}/{total}] {line(each)}", flush=True)

    async def one(shape: Shape, defect: Defect) -> None:
        async with turn:
            told(await judge_defect(shape, defect, sandbox, settings, full=full))

    async with proven_sandbox(settings.home) as sandbox:
        for shape in tools:
            told(await judge_tool(shape, sandbox, settings))
        async with asyncio.TaskGroup() as group:
            for shape, defect in defects:
                group.create_task(one(shape, defect))
    return judged


@asynccontextmanager
async def proven_sandbox(home: Path) -> AsyncIterator[Sandbox]:
    """The one sandbox of a run; without proven isolation there is none."""
    sandbox = Sandbox(home, idle_per_tool=0)
    try:
        proof = await sandbox.start()
        if not proof.ok:
            raise SystemExit("Isolation could not be proven: " + "; ".join(f"{each.name}: {each.detail}" for each in proof.failures()))
        yield sandbox
    finally:
        await sandbox.stop()


if __name__ == "__main__":
    sys.exit(main())
