"""A ledger group is read whatever it is called."""

from __future__ import annotations

import csv
import io
from urllib.parse import quote

import httpx2
import pytest

from tests.protocol.site import Site


def groups_of(answer: httpx2.Response) -> set[str]:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/csv"):
        return {row["group"] for row in csv.DictReader(io.StringIO(answer.text))}
    return {row["group"] for row in answer.json()["items"]}


@pytest.mark.parametrize("group", ["week", "week.csv", "week.csv.csv", "a/b.csv", "50% off.csv", ".csv"])
def test_a_group_is_read_as_json_and_as_csv_whatever_its_name_ends_in(site: Site, group: str) -> None:
    assert site.post("/tools/send_notes/runs", {"args": {"group": group, "to": ["a@example.com"]}}).json()["result"]["done"] == 1
    path = f"/ledgers/notes/{quote(group, safe='')}"
    as_json, as_csv, after = site.get(path, format="json"), site.get(path, format="csv"), site.get(f"{path}.csv")
    assert [answer.headers["content-type"].split(";")[0] for answer in (as_json, as_csv, after)] == [
        "application/json",
        "text/csv",
        "text/csv",
    ]
    assert groups_of(as_json) == groups_of(as_csv) == groups_of(after) == {group}


def test_an_unknown_format_is_refused(site: Site) -> None:
    for path in ("/ledgers/notes/week", "/ledgers/notes/week.csv"):
        answer = site.get(path, format="xml")
        assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
