"""The protocol between host and guest: frames of a 4-byte big-endian length and compact UTF-8 JSON, one object each.

It refuses to be: a policy. What a frame may contain is checked by the host's session; the guest trusts its host.

Guest to host, each answered once:

    {"t": "read", "step": n, "id": ID, "query": {...}}                  value: what the connector read
    {"t": "read", "step": n, "id": ID, "query": {...}, "cursor": c}     one page; c is null for the first;
                                                                        value: {"items": [...], "next_cursor": c | null}
    {"t": "perform", "step": n, "chunk": k, "first": i, "id": ID, "items": [...], "last": bool, "each": bool}
                                                                        value: one outcome object per item

Guest to host, never answered:

    {"t": "log", "event": E, "fields": {...}}      {"t": "progress", "done": n, "total": n | null}
    {"t": "result", "value": V}                    {"t": "tool_error", "code": C, "message": M}
    {"t": "cancelled"}                             {"t": "crash", "type": T, "message": M, "traceback": [{"line", "function"}]}

The last four end the conversation. Host to guest:

    {"t": "start", "args": {...}, "now": ms, "seed": hex}
    {"t": "answer", "now": ms, "step": n, "chunk": k, "value": V}
    {"t": "refuse", "now": ms, "step": n, "chunk": k, "code": C, "message": M}      in place of an answer: the call raises ToolError
    {"t": "cancel"}                                              in place of an answer: the call raises Cancelled

An answer names its request; one that does not is to the oldest that is open. `now` is milliseconds since the epoch, UTC,
of whole seconds. Steps count calls of the context from 1; a page of `read_pages` is a step of its own;
chunks count the parts of one `perform` step from 0, and `first` is the index of the chunk's first item within the step.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

HEADER = struct.Struct(">I")
MAX_FRAME = 64 << 20
"""Bytes of one frame that either side will ever form; the host's session accepts far less from a guest."""
MAX_CHUNK_ITEMS = 500
MAX_CHUNK_BYTES = 1 << 20

_BLOCK = 4096
"""Bytes that are asked for where it is not known how many come: a fresh process pays for each page of a buffer."""

Message = dict[str, Any]

dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Compact JSON text. Raises TypeError or ValueError for what JSON cannot say (NaN, bytes, sets, cycles)."""


class FrameError(ValueError):
    """Bytes that are no frame of this protocol."""


def encode(message: Message) -> bytes:
    """One frame. Raises TypeError or ValueError for what JSON cannot say, FrameError over `MAX_FRAME`."""
    payload = dumps(message).encode()
    if len(payload) > MAX_FRAME:
        raise FrameError(f"a message of {len(payload)} bytes is over the limit of {MAX_FRAME}")
    return HEADER.pack(len(payload)) + payload


def _no_constant(name: str) -> Any:
    raise FrameError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


def decode(payload: bytes | bytearray | memoryview) -> Message:
    """The object of one frame. Raises FrameError for anything else, nesting too deep and lone surrogates included."""
    try:
        text = str(payload, "utf-8")
        message, end = _decoder.raw_decode(text)
        if end != len(text):
            raise FrameError("something stands behind the object")
        if "\\u" in text:
            dumps(message).encode()
    except (ValueError, RecursionError) as error:
        raise FrameError(f"no UTF-8 JSON: {type(error).__name__}") from error
    if not isinstance(message, dict):
        raise FrameError("a frame must hold a JSON object")
    return message


class Channel:
    """The guest's blocking end, over one inherited file descriptor; reads and writes only, so that no socket call is needed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = bytearray()

    def send(self, message: Message) -> None:
        """Write one frame whole. Raises OSError where the host has gone."""
        view = memoryview(encode(message))
        while view:
            view = view[os.write(self._fd, view) :]

    def receive(self) -> Message:
        """The host's next message. Raises EOFError where the host has gone."""
        (size,) = HEADER.unpack(self._take(HEADER.size))
        if size > MAX_FRAME:
            raise FrameError(f"a frame of {size} bytes")
        return decode(self._take(size))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            block = os.read(self._fd, max(_BLOCK, size - len(self._buffer)))
            if not block:
                raise EOFError("the host closed the channel")
            self._buffer += block
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
