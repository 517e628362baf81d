"""Frames from a hostile worker."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptoss_tui.tools.python.frames import MAX_FRAME, FrameReader, ProtocolError, encode, pack

VALUES = st.dictionaries(st.text(), st.integers() | st.text() | st.booleans())


@given(st.lists(VALUES), st.integers(1, 7))
def test_messages_arrive_however_they_are_cut(messages: list[dict[str, object]], size: int) -> None:
    data = b"".join(map(encode, messages))
    reader = FrameReader()
    received = [m for start in range(0, len(data), size) for m in reader.feed(data[start : start + size])]
    assert received == messages


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_bytes_are_messages_or_a_protocol_error(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            for message in reader.feed(piece):
                assert isinstance(message, dict)
    except ProtocolError:
        pass


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big")])
def test_lengths_are_checked_before_anything_is_kept(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        FrameReader().feed(data)


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"null", b"{", b"\xff", b"[" * 100_000, b"NaN"])
def test_only_objects_are_messages(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed(pack(data))


def test_the_largest_frame_passes() -> None:
    text = "x" * (MAX_FRAME - len(json.dumps({"t": ""})))
    assert FrameReader().feed(encode({"t": text})) == [{"t": text}]
