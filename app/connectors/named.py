"""Which connections a spec names, and whether they are there: a warning when it is saved, an error when it is published or called.

It refuses to be: a test of a connection. That it is named and of the right kind is all that is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.connectors import repository
from app.core.db import Database
from app.core.errors import Conflict, Problem
from app.spec.model import ExecutionSpec

_KIND = {"email.send": "smtp", "http.request": "http"}
Naming = tuple[str, str, str]
"""JSON path, name of the connection, kind that it must have."""


def namings(effects: Iterable[Mapping[str, Any]]) -> Iterator[Naming]:
    """What the effects of a spec name, each `{"connector", "config"}`."""
    for index, effect in enumerate(effects):
        path, connector, config = f"$.effects[{index}].config", effect["connector"], effect.get("config", {})
        if connector in _KIND and "connection" in config:
            yield f"{path}.connection", config["connection"], _KIND[connector]
        elif connector == "notify.send":
            for name, channel in config["channels"].items():
                for way, kind in (("email", "smtp"), ("webhook", "webhook")):
                    if "connection" in channel.get(way, {}):
                        yield f"{path}.channels.{name}.{way}.connection", channel[way]["connection"], kind


def missing(database: Database, tenant: str, named: Iterable[Naming]) -> list[Problem]:
    """Each naming of a connection that does not exist, or is of another kind."""
    wanted = list(named)
    if not wanted:
        return []
    with database.reading() as session:
        known = repository.kinds_of(session, tenant, {name for _, name, _ in wanted})
    return [problem for path, name, kind in wanted if (problem := _problem(path, name, kind, known.get(name)))]


def warnings(database: Database, tenant: str, body: Mapping[str, Any]) -> list[dict[str, str]]:
    """The same for a spec that has just been saved, as its answer shows it."""
    return [problem.as_dict() for problem in missing(database, tenant, namings(body.get("effects", ())))]


def names_connections(spec: ExecutionSpec) -> bool:
    """Whether there is anything to look for."""
    return any(effect.connector in _KIND or effect.connector == "notify.send" for effect in spec.effects) and any(_of(spec))


def require(database: Database, tenant: str, spec: ExecutionSpec) -> None:
    """Raise Conflict `connection_unknown` unless every connection that the spec names is there, of its kind."""
    problems = missing(database, tenant, _of(spec))
    if problems:
        said = "; ".join(f"{problem.path} {problem.message}" for problem in problems[:3])
        detail = f"The spec names what is not there: {said}."
        raise Conflict("connection_unknown", detail, fix=problems[0].fix, problems=problems, retryable=True)


def stand_in(database: Database, tenant: str, *specs: ExecutionSpec) -> None:
    """Name what the specs name, without settings: for an installation whose connectors are twins and connect to nothing."""
    with database.writing() as session:
        for name, kind in {name: kind for spec in specs for _, name, kind in _of(spec)}.items():
            repository.add_connection(session, tenant, name, kind, {}, None, "verification")


def _of(spec: ExecutionSpec) -> Iterator[Naming]:
    return namings({"connector": effect.connector, "config": effect.config} for effect in spec.effects)


def _problem(path: str, name: str, kind: str, found: str | None) -> Problem | None:
    if found is None:
        return Problem(path, f"names {name!r}, and there is no such connection", "Have an operator name it, under /connections.")
    if found != kind:
        return Problem(path, f"names {name!r}, which is a connection of kind {found}, not {kind}", f"Name one of kind {kind}.")
    return None
