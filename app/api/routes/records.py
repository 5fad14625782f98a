"""Records: read and write one, list a collection, import many, keep them as they are."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import Body, checked, parse_json, pieces, read_body, takes
from app.api.callers import Caller
from app.api.once import once
from app.api.services import House
from app.core.clock import iso
from app.core.errors import Invalid
from app.records.imports import import_records
from app.records.reading import RecordView, collections, get_record, list_records
from app.records.snapshots import delete_snapshot, list_snapshot_records, list_snapshots, read_snapshot, take_snapshot
from app.records.writing import put_record

router = APIRouter(tags=["records"])
MOST_BYTES = 300_000
MOST_IMPORT = 1_000_000_000
_IN_MEMORY = 2_000_000
_KINDS = {"application/jsonl": "jsonl", "application/x-ndjson": "jsonl", "application/json": "jsonl", "text/csv": "csv"}


@router.get("/records", summary="List the collections")
def get_collections(actor: Caller, house: House) -> dict[str, Any]:
    """`{"items": [{"name", "count"}], "next_cursor": null}`."""
    found = collections(actor, house.database)
    return {"items": [{"name": view.name, "count": view.count} for view in found], "next_cursor": None}


@router.get("/records/{collection}", summary="List a collection")
def get_records(
    collection: str, actor: Caller, house: House, filter: str | None = None, cursor: str | None = None, limit: int = 100
) -> dict[str, Any]:
    """`filter` is a JSON object: `{"field": value}` or `{"field": [value, …]}` over top-level fields."""
    wanted = parse_json(filter.encode()) if filter else None
    page = list_records(actor, house.database, collection, wanted, cursor, limit)
    return {"items": [_shown(view) for view in page.items], "next_cursor": page.next_cursor}


@router.get("/records/{collection}/{key:path}", summary="Read a record")
def read_one(collection: str, key: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"key", "body", "version", "updated_at"}`."""
    return _shown(get_record(actor, house.database, collection, key))


@router.put("/records/{collection}/{key:path}", summary="Create or replace a record")
async def put_one(
    collection: str, key: str, request: Request, actor: Caller, house: House, expected_version: int | None = None
) -> dict[str, Any]:
    """The body is the record. With `expected_version` the write is conditional; 0 asks that there be none."""
    body = parse_json(await read_body(request, MOST_BYTES))
    return _shown(await asyncio.to_thread(put_record, actor, house.database, collection, key, body, expected_version))


@router.post("/records/{collection}/imports", summary="Import JSONL or CSV")
async def post_import(collection: str, request: Request, actor: Caller, house: House, key: str | None = None) -> Response:
    """By Content-Type: JSONL lines `{"key", "body"}`, or CSV with `?key=column`. Answers `{"imported", "failed", "errors"}`."""
    kind = _KINDS.get(request.headers.get("content-type", "").partition(";")[0].strip().lower())
    if kind is None:
        raise Invalid("content_type_invalid", "This is neither JSONL nor CSV.", fix="Send application/jsonl or text/csv.")
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as body:
        mark = hashlib.sha256(kind.encode())
        async for piece in pieces(request, MOST_IMPORT):
            mark.update(piece)
            await asyncio.to_thread(body.write, piece) if len(piece) > _IN_MEMORY else body.write(piece)
        body.seek(0)

        async def work() -> dict[str, Any]:
            report = await asyncio.to_thread(
                import_records, actor, house.database, collection, _pieces(body), "csv" if kind == "csv" else "jsonl", key
            )
            return {"imported": report.imported, "failed": report.failed, "errors": report.errors}

        return await once(request, actor, json.dumps([mark.hexdigest()]).encode(), work)


class SnapshotOf(Body):
    """Which records: all of the collection unless `filter` says otherwise."""

    filter: dict[str, Any] | None = None


@router.post("/records/{collection}/snapshots", status_code=201, summary="Keep a collection as it is now", openapi_extra=takes(SnapshotOf))
async def post_snapshot(collection: str, request: Request, actor: Caller, house: House) -> Response:
    """201 `{"id", "collection", "filter", "count", "bytes", …}`. Refer to it in arguments as `{"snapshot": id}`."""
    text = await read_body(request, MOST_BYTES) or b"{}"

    async def work() -> dict[str, Any]:
        body = checked(SnapshotOf, parse_json(text))
        return await asyncio.to_thread(take_snapshot, actor, house.database, collection, body.filter)

    return await once(request, actor, text, work, 201)


@router.get("/snapshots", summary="List the snapshots")
def get_snapshots(actor: Caller, house: House, collection: str | None = None, cursor: str | None = None, limit: int = 50) -> Any:
    """Newest first."""
    return list_snapshots(actor, house.database, collection, cursor, limit)


@router.get("/snapshots/{snapshot_id}", summary="Read what a snapshot is")
def get_snapshot(snapshot_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """`{"id", "collection", "filter", "count", "bytes", "created_at", "created_by"}`."""
    return read_snapshot(actor, house.database, snapshot_id)


@router.get("/snapshots/{snapshot_id}/records", summary="Read a snapshot's records")
def get_snapshot_records(snapshot_id: str, actor: Caller, house: House, cursor: str | None = None, limit: int = 100) -> dict[str, Any]:
    """By key."""
    page = list_snapshot_records(actor, house.database, snapshot_id, cursor, limit)
    return {"items": [_shown(view) for view in page.items], "next_cursor": page.next_cursor}


@router.delete("/snapshots/{snapshot_id}", summary="Forget a snapshot")
def remove_snapshot(snapshot_id: str, actor: Caller, house: House) -> dict[str, Any]:
    """What it was."""
    return delete_snapshot(actor, house.database, snapshot_id)


def _pieces(body: IO[bytes]) -> Iterator[bytes]:
    while piece := body.read(1 << 20):
        yield piece


def _shown(view: RecordView) -> dict[str, Any]:
    return {"key": view.key, "body": view.body, "version": view.version, "updated_at": iso(view.updated_at)}
