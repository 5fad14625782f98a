"""Frames of the wire protocol."""

from __future__ import annotations

import os

import pytest

from generated_tools.toolkit.wire import HEADER, Channel, FrameError, decode, encode


@pytest.mark.parametrize("value", [None, 1, "ü€😀", [1.5, True], {"a": {"b": []}}, 'quote " and \\ and \n'])
def test_what_is_encoded_is_decoded(value: object) -> None:
    frame = encode({"t": "result", "value": value})
    (size,) = HEADER.unpack_from(frame)
    assert size == len(frame) - HEADER.size
    assert decode(frame[HEADER.size :]) == {"t": "result", "value": value}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"bytes", {1, 2}, object()])
def test_what_json_cannot_say_is_not_sent(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode({"t": "result", "value": value})


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"text"',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b"\xff{}",
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_object_of_json_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        decode(payload)


def test_an_escaped_pair_of_surrogates_is_a_character() -> None:
    assert decode(b'{"a": "\\ud83d\\ude00"}') == {"a": "😀"}


def test_a_channel_puts_split_frames_together() -> None:
    read_end, write_end = os.pipe()
    data = encode({"n": 1}) + encode({"n": 2})
    for start in range(0, len(data), 3):
        os.write(write_end, data[start : start + 3])
    os.close(write_end)
    channel = Channel(read_end)
    assert [channel.receive(), channel.receive()] == [{"n": 1}, {"n": 2}]
    with pytest.raises(EOFError):
        channel.receive()
    os.close(read_end)
