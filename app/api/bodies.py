"""Request bodies: read within a limit, decoded strictly, checked against a closed model.

Refused are bodies over the limit (by their announced length, and again while they stream in), text that is not UTF-8, halves of
surrogate pairs, NaN and Infinity, nesting without end, NUL in a field, and every field that is not declared.

It refuses to be: the judge of content. What a field may say is for the room that takes it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request

from app.core.errors import Invalid, Problem, TooLarge
from app.core.texts import is_unicode, text_problems

MOST_BYTES = 12_000_000
M = TypeVar("M", bound="Body")
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # only such texts can hold half of a surrogate pair


class Body(BaseModel):
    """A JSON object with declared fields only; no coercion between JSON types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def one_of(*values: str, **options: Any) -> Any:
    """A text field whose values the description lists; which of them is right is for the use case to say, with its own code."""
    return Field(json_schema_extra={"enum": list(values)}, **options)


async def pieces(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body as it comes. Raises TooLarge `body_too_large`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        _too_large(most)
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                _too_large(most)
            yield piece
    except ClientDisconnect:
        raise Invalid("body_incomplete", "The request ended before its body did.", fix="Send it again, whole.") from None


async def read_body(request: Request, most: int = MOST_BYTES) -> bytes:
    """The whole body. Raises TooLarge `body_too_large`."""
    return b"".join([piece async for piece in pieces(request, most)])


def parse_json(text: bytes) -> Any:
    """A JSON value, decoded strictly. Raises Invalid `body_invalid`."""
    try:
        value = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
        if not _HALF.search(text) or is_unicode(value):
            return value
        detail = "the body holds half of a surrogate pair"
    except UnicodeDecodeError:
        detail = "the body is not UTF-8"
    except RecursionError:
        detail = "the body is nested too deeply"
    except ValueError as error:
        detail = f"the body is not JSON: {error}"
    raise Invalid("body_invalid", f"{detail[0].upper()}{detail[1:]}.", fix="Send one JSON value as UTF-8.")


def checked(model: type[M], value: Any) -> M:
    """The value as `model`. Raises Invalid `body_invalid` with the JSON path of each field that is wrong."""
    try:
        body = model.model_validate(value)
        problems = text_problems(body)
    except ValidationError as error:
        problems = [Problem(_path(item["loc"]), item["msg"]) for item in error.errors(include_url=False, include_input=False)[:20]]
    if not problems:
        return body
    said = "; ".join(f"{found.path} {found.message}" for found in problems[:3])
    raise Invalid("body_invalid", f"The body does not fit: {said}.", fix="See /docs for its fields.", problems=problems)


def takes(model: type[Body]) -> dict[str, Any]:
    """For a route's `openapi_extra`: that it takes this body."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _too_large(most: int) -> NoReturn:
    raise TooLarge("body_too_large", f"The body is larger than the {most} bytes that are taken here.", fix="Send less, or in parts.")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


Parse = Callable[[Request], Any]
