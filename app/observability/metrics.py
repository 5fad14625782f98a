"""Counters and histograms of every process, added up: each writes to its own file under HOME/metrics, `/metrics` reads them all.

The instruments below are inert until `start` names the folder, so that rooms may count anywhere: in tests, in verification,
on the command line. Files of processes that have died are folded into one, so that totals never fall and files do not pile up.

It refuses to be: per tenant, actor or item. Labels are names from small closed sets.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FOLDED = 0  # no process has this id: the file of those that are gone
_ADDED = ("counter", "histogram")


@dataclass(eq=False, slots=True)
class Instrument:
    """One metric. `labels` picks a series by its label values, in order; without labels it is a series itself."""

    kind: type[Counter] | type[Gauge] | type[Histogram]
    name: str
    text: str
    names: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    live: Counter | Gauge | Histogram | None = None
    series: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def labels(self, *label_values: str) -> Series:
        return Series(self, label_values)

    def inc(self, amount: float = 1) -> None:
        """Add to a counter."""
        self.labels().inc(amount)

    def observe(self, value: float) -> None:
        """Add one measurement to a histogram."""
        self.labels().observe(value)

    def set(self, value: float) -> None:
        """Replace the value of a gauge; the latest of all processes is shown."""
        self.labels().set(value)

    def bind(self, registry: CollectorRegistry) -> None:
        """Begin to count, in the folder that `start` named."""
        self.live = self.kind(self.name, self.text, self.names, registry=registry, **self.options)
        self.series = {}

    def target(self, label_values: tuple[str, ...]) -> Any:
        """The library's object behind a series; None while nothing is counted."""
        found = self.series.get(label_values)
        if found is None and self.live is not None:
            found = self.live.labels(*label_values) if self.names else self.live
            self.series[label_values] = found
        return found


_apart: ContextVar[bool] = ContextVar("counted apart", default=False)


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing of the work until the end of the block: a rehearsal on a private database is no business of an operator's."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


@dataclass(frozen=True, slots=True)
class Series:
    """One instrument with its label values."""

    instrument: Instrument
    label_values: tuple[str, ...]

    def inc(self, amount: float = 1) -> None:
        target = self._target()
        if target is not None:
            target.inc(amount)

    def observe(self, value: float) -> None:
        target = self._target()
        if target is not None:
            target.observe(value)

    def set(self, value: float) -> None:
        target = self._target()
        if target is not None:
            target.set(value)

    def _target(self) -> Any:
        return None if _apart.get() else self.instrument.target(self.label_values)


_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)

RUNS = Instrument(Counter, "toolmint_runs", "Runs that ended, by state", ("state",))
RUN_SECONDS = Instrument(Histogram, "toolmint_run_seconds", "Time from a run's start to its end", options={"buckets": _SECONDS})
EFFECTS = Instrument(Counter, "toolmint_effects", "Effects by connector and the state that they reached", ("connector", "state"))
RETRIES = Instrument(Counter, "toolmint_effect_retries", "Attempts that the retry queue made", ("connector",))
LOOKUPS = Instrument(Counter, "toolmint_effect_lookups", "Questions to providers about unknown effects, by answer", ("connector", "answer"))
UNKNOWN = Instrument(Gauge, "toolmint_effects_unknown", "Effects that nobody can know of", options={"multiprocess_mode": "mostrecent"})
CIRCUITS = Instrument(
    Gauge, "toolmint_open_circuits", "Tools that a connector is not tried for", ("connector",), options={"multiprocess_mode": "mostrecent"}
)
PAUSES = Instrument(Gauge, "toolmint_pauses", "What is paused, by scope", ("scope",), options={"multiprocess_mode": "mostrecent"})
GUESTS = Instrument(Counter, "toolmint_guests", "Guests started in the sandbox")
REPLAYS = Instrument(Counter, "toolmint_replays", "Runs that were played again from their journal, by outcome", ("state",))
PRUNED = Instrument(Counter, "toolmint_pruned_rows", "Rows that retention removed, by kind", ("kind",))
REFUSED_VERSIONS = Instrument(
    Counter, "toolmint_versions_refused", "Versions that are not what was published, by what disagrees", ("code",)
)
GATE_SECONDS = Instrument(Histogram, "toolmint_gate_seconds", "Time of a verification gate", ("gate",), options={"buckets": _SECONDS})
COMMIT_ITEMS = Instrument(Histogram, "toolmint_group_commit_items", "Writes that shared a commit", options={"buckets": _ITEMS})
MODEL_CALLS = Instrument(Counter, "toolmint_model_calls", "Questions to a model, by outcome", ("outcome",))

INSTRUMENTS = (
    RUNS,
    RUN_SECONDS,
    EFFECTS,
    RETRIES,
    LOOKUPS,
    UNKNOWN,
    CIRCUITS,
    PAUSES,
    GUESTS,
    REPLAYS,
    PRUNED,
    REFUSED_VERSIONS,
    GATE_SECONDS,
    COMMIT_ITEMS,
    MODEL_CALLS,
)
_folder: list[Path] = []


def start(folder: Path) -> None:
    """Count in this process from now on, in a file of its own under `folder` (HOME/metrics)."""
    folder.mkdir(parents=True, exist_ok=True)
    fold_dead(folder)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)  # where the library's values look for it
    # The library chooses this class when it is first imported, which is before anyone knows the folder.
    values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]  # the library has no types here
    registry = CollectorRegistry()
    for instrument in INSTRUMENTS:
        instrument.bind(registry)
    _folder[:] = [folder]


def stop() -> None:
    """Count no more in this process; what it counted stays."""
    for instrument in INSTRUMENTS:
        instrument.live, instrument.series = None, {}
    _folder.clear()


def render() -> bytes:
    """The sum over all processes in the Prometheus text format; empty before `start`."""
    if not _folder:
        return b""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(_folder[0]))  # type: ignore[no-untyped-call]  # the library has no types here
    with _locked(_folder[0], fcntl.LOCK_SH):
        return generate_latest(registry)


def fold_dead(folder: Path) -> int:
    """Add the files of processes that are gone to one file, and delete them; returns how many there were."""
    folded = 0
    with _locked(folder, fcntl.LOCK_EX):
        for path in sorted(folder.glob("*.db")):
            kind, _, pid = path.stem.rpartition("_")
            if not pid.isdigit() or int(pid) == _FOLDED or _alive(int(pid)):
                continue
            if kind in _ADDED:
                _add(path, folder / f"{kind}_{_FOLDED}.db")
            path.unlink()
            folded += 1
    return folded


def _add(source: Path, target: Path) -> None:
    total = MmapedDict(str(target))  # type: ignore[no-untyped-call]  # the library has no types here
    try:
        for key, value, _stamp, _position in MmapedDict.read_all_values_from_file(str(source)):  # type: ignore[no-untyped-call]  # as above
            total.write_value(key, total.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]  # as above
    finally:
        total.close()  # type: ignore[no-untyped-call]  # as above


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
