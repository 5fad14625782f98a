"""A trivial published tool over MCP, sandboxed, journaled and audited, against an in-process echo tool on FastMCP."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

from tests.bench.table import Row
from tests.bench.trees import cpu_ms
from tests.bench.wire import Connection, Target, rate, times
from tests.support.processes import Child, start_module
from tests.support.service import Service
from tests.support.supervised import free_port
from tests.support.waiting import until_async

ROUNDS = 5
CALLS = 150
CONNECTIONS = 8
PEER = "echo tool in process, FastMCP"


def start_peer(folder: Path) -> tuple[Child, int]:
    port = free_port()
    return start_module("tests.bench.echo_peer", str(port), output=folder / "peer.log"), port


async def measured(service: Service, folder: Path) -> list[Row]:
    """p50 with one connection, CPU of the whole process tree per call, calls a second with eight connections."""
    peer, port = start_peer(folder)
    try:
        theirs = Target("FastMCP", port, "echo", {"text": "hello"})
        key = service.new_key("bench", "tools:call").key
        ours = Target("Toolmint", int(service.url.rpartition(":")[2]), "echo", {"text": "hello"}, key)
        await until_async(lambda: _answers(theirs), 30, "the peer answers")
        targets = ((ours, service.pid), (theirs, peer.pid))
        for target, _ in targets:
            await times(target, 50)
        return await _compare(targets)
    finally:
        peer.kill()


async def _answers(target: Target) -> bool:
    try:
        connection = await Connection.open(target)
    except OSError:
        return False
    connection.close()
    return True


async def _compare(targets: tuple[tuple[Target, int], tuple[Target, int]]) -> list[Row]:
    latency: list[list[float]] = [[], []]
    cpu: list[float] = [0.0, 0.0]
    rates: list[list[float]] = [[], []]
    for _ in range(ROUNDS):  # in turns, so that what else the machine does falls on both
        for side, (target, pid) in enumerate(targets):
            before = cpu_ms(pid)
            latency[side] += await times(target, CALLS)
            cpu[side] += cpu_ms(pid) - before
            rates[side].append(await rate(target, CALLS * 2, CONNECTIONS))
            await asyncio.sleep(0)
    calls = ROUNDS * CALLS
    p50 = [statistics.median(side) for side in latency]
    per_second = [statistics.median(side) for side in rates]
    return [
        Row("p50 of a call, 1 connection", p50[0], p50[1], "ms", "1.0", PEER),
        Row("CPU of the process tree per call", cpu[0] / calls, cpu[1] / calls, "ms", "2, at most 3", PEER, most=3),
        Row("calls/s, 8 connections", per_second[0], per_second[1], "/s", "higher is better", PEER),
    ]
