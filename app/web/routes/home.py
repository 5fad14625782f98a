"""The overview: what needs attention, then what is going on."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from app.web.desk import At

router = APIRouter()


@router.get("/")
def show(desk: At) -> Response:
    return desk.show("home/page.html")
