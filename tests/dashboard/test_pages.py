"""Every page answers; unknown things do not exist; parts are the same as on the page; lists keep their state in the address."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from tests.dashboard.client import Client
from tests.dashboard.ids import REDRIVE, TOOL, UNKNOWN, candidate, pages, run
from tests.dashboard.seed import AGENT_KEY, OPERATOR_KEY, VIEWER_KEY
from tests.dashboard.site import Site


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[Client]:
    client = Client(site)
    yield client
    client.close()


def test_every_page_answers_with_one_heading_and_a_title(site: Site, admin: Client) -> None:
    for name, path in pages(site).items():
        answer = admin.get(path)
        assert answer.status_code == 200, (name, answer.text[-500:])
        assert len(re.findall(r"<h1[ >]", answer.text)) == 1, name
        assert "· Toolmint</title>" in answer.text, name


def test_every_page_answers_an_operator_an_agent_and_a_viewer_without_failing(site: Site) -> None:
    for key in (OPERATOR_KEY, AGENT_KEY, VIEWER_KEY):
        client = Client(site, key)
        statuses = {name: client.get(path).status_code for name, path in pages(site).items()}
        assert set(statuses.values()) <= {200, 403, 404}, statuses
        assert statuses["overview"] == 200
        client.close()


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/tools/no_such_tool",
        f"/tools/{TOOL}/versions/99",
        f"/tools/{TOOL}/versions/x",
        f"/tools/{TOOL}/versions/2/nothing",
        "/tools/no_such_tool/try",
        "/candidates/cand_none",
        "/candidates/cand_none/events",
        "/runs/run_none",
        "/runs/run_none/events",
        "/ledgers/campaigns/none",
        "/exports/ledgers/campaigns/none",
        "/queues/nothing",
        "/effects/eff_none",
        "/static/nothing.js",
    ],
)
def test_what_does_not_exist_is_a_page_that_says_so(admin: Client, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 404
    assert 'class="problem"' in answer.text
    assert "Go to the overview" in answer.text


def test_an_unknown_address_under_the_api_is_answered_with_problem_details(admin: Client) -> None:
    answer = admin.get("/api/v1/nothing")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.text)
    assert (body["code"], body["type"]) == ("page_not_found", "urn:toolmint:error:page_not_found")


def test_a_method_that_an_address_does_not_take_is_405_and_says_which_it_takes(admin: Client) -> None:
    for path, takes in {"/runs": "GET", "/pauses/ends": "POST"}.items():
        answer = admin.http.delete(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, takes), path
        assert "method_not_allowed" in answer.text and "Go to the overview" in answer.text


def test_every_page_about_redrives_stands_in_the_section_of_the_queues(admin: Client) -> None:
    for path in ("/queues/dead", "/redrives", f"/redrives/{REDRIVE}"):
        section = re.search(r'href="([^"]+)" data-keys="g \w" aria-current="page"', admin.get(path).text)
        assert section is not None and section[1] == "/queues", path


def test_where_nothing_is_left_to_redrive_no_empty_fact_is_shown(admin: Client) -> None:
    assert "<dt>Tools</dt>" in admin.get("/queues/dead/decision").text
    empty = admin.get("/queues/dead/decision?tool=quote_price").text
    assert "Nothing matches any more" in empty and "<dt>Tools</dt>" not in empty


def test_a_filter_that_no_list_knows_is_an_error_and_no_empty_list(admin: Client) -> None:
    for path in ("/runs?state=nonsense", "/candidates?state=nonsense", "/runs?cursor=nonsense", "/ledgers/campaigns/spring-2026?state=x"):
        assert admin.get(path).status_code == 422, path
    for path, values in {"/audit?outcome=x": "done, refused, failed", "/candidates?approval=x": "waiting, approved, rejected"}.items():
        answer = admin.get(path)
        assert answer.status_code == 422 and values in answer.text, path


def test_the_audit_trail_begins_at_a_day_or_an_instant(admin: Client) -> None:
    assert "version.published" in admin.get("/audit?action=version.published&since=2020-01-31").text
    for since in ("2120-01-31", "2120-01-31T12:00:00Z"):
        assert "No event matches" in admin.get(f"/audit?since={since}").text
    assert admin.get("/audit?since=2026-02-30").status_code == admin.get("/audit?since=yesterday").status_code == 422


def test_a_refused_candidate_waits_for_no_approval(site: Site, admin: Client) -> None:
    refused = candidate(site, "refused")
    assert refused in admin.get("/candidates?state=refused").text
    rows = admin.get("/candidates?state=refused", hx_request="true", hx_request_type="partial").text
    assert "waiting" not in rows and "passed" not in rows
    assert refused not in admin.get("/candidates?approval=waiting").text
    assert candidate(site, "passed") in admin.get("/candidates?approval=waiting").text
    facts = admin.get(f"/candidates/{refused}").text.partition("<dt>Approval</dt>")[2][:60]
    assert "\N{EN DASH}" in facts, facts


@pytest.mark.parametrize(
    "path", ["/runs", "/ledgers/campaigns/spring-2026", "/audit", "/outbox", "/queues/retry_wait", "/candidates", "/keys", "/tools"]
)
def test_the_part_for_htmx_is_the_same_as_on_the_page(admin: Client, path: str) -> None:
    part = admin.get(path, hx_request="true", hx_request_type="partial").text
    whole = admin.get(path).text
    still = re.compile(r">[^<]*(?:ago|just now|in \d+ \w+)<")
    assert part.strip()
    assert still.sub("><", part).strip() in still.sub("><", whole)


def test_following_the_links_to_more_shows_every_row_once(admin: Client) -> None:
    path, seen = "/ledgers/campaigns/spring-2026", []
    while path:
        text = admin.get(path).text
        seen += re.findall(r'href="/effects/(eff_[^"]+)"', text)
        more = re.search(r'href="([^"]+cursor=[^"]+)"', text)
        path = more[1].replace("&amp;", "&") if more else ""
    assert len(seen) == 350
    assert len(set(seen)) == 350


def test_a_filter_holds_on_the_following_pages(admin: Client) -> None:
    first = admin.get("/ledgers/campaigns/spring-2026?state=done").text
    more = re.search(r'href="([^"]+cursor=[^"]+)"', first)
    assert more is not None
    assert "state=done" in more[1]
    second = admin.get(more[1].replace("&amp;", "&")).text
    assert 'data-tone="good">done' in second
    assert ">dead<" not in re.sub(r"<nav.*?</nav>", "", second, flags=re.DOTALL)


def test_loading_more_by_itself_stops_after_two_thousand_rows(admin: Client) -> None:
    few = admin.get("/ledgers/campaigns/spring-2026?loaded=100", hx_request="true", hx_request_type="partial").text
    many = admin.get("/ledgers/campaigns/spring-2026?loaded=2000", hx_request="true", hx_request_type="partial").text
    assert "intersect once" in few
    assert "intersect once" not in many
    assert "Load more" in many


def test_the_csv_has_every_row_of_the_filter(admin: Client) -> None:
    answer = admin.get("/exports/ledgers/campaigns/spring-2026?state=dead")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert "attachment" in answer.headers["content-disposition"]
    assert len(rows) == 10
    assert {row["state"] for row in rows} == {"dead"}
    one = rows[3]["subject"]
    page = admin.get(f"/ledgers/campaigns/spring-2026?subject={quote(one)}").text
    link = re.search(r'href="(/exports/[^"]+)"', page)
    assert link is not None
    found = list(csv.DictReader(io.StringIO(admin.get(html.unescape(link[1])).text)))
    assert [row["subject"] for row in found] == [one]


def test_a_finished_run_is_streamed_as_one_snapshot_and_the_end(site: Site, admin: Client) -> None:
    answer = admin.get(f"/runs/{run(site, 'completed')}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("\n\n") == 2
    assert answer.text.endswith("event: done\ndata: over\n\n")
    assert all(line.startswith(("data: ", "event: ", "data:")) for line in answer.text.splitlines() if line)


def test_held_out_cases_are_told_to_those_who_may_see_them_alone(site: Site, admin: Client) -> None:
    path = f"/candidates/{candidate(site, 'refused')}"
    author = Client(site, AGENT_KEY)
    assert "a secret case" in admin.get(path).text
    assert "a secret case" not in author.get(path).text
    assert "A held-out case does not hold" in author.get(path).text
    author.close()


def test_actors_are_called_by_their_names(site: Site, admin: Client) -> None:
    assert 'title="key_agent">campaign agent<' in admin.get("/runs").text
    assert 'title="key_operator">operator<' in admin.get(f"/tools/{TOOL}").text


def test_a_tool_that_does_not_load_says_what_disagrees_and_what_to_do(own_site: Site) -> None:
    with own_site.database.writing() as session:
        session.connection().execute(sa.text("UPDATE version SET published_by = 'key_other' WHERE tool = :tool"), {"tool": TOOL})
        session.connection().execute(sa.text("UPDATE candidate SET report = '[' WHERE state = 'published'"))
    admin = Client(own_site)
    text = admin.get(f"/tools/{TOOL}").text
    assert "version_altered" in text and "published_by of its row was altered" in text and "Restore the database" in text
    beside = f"/candidates/{candidate(own_site, 'passed')}/changes"
    for path in (f"/tools/{TOOL}/versions/2", f"/tools/{TOOL}/versions/2/code", f"/tools/{TOOL}/versions/2/changes", beside):
        assert "version_altered" in admin.get(path).text, path
    admin.close()


def test_what_cannot_be_done_with_a_run_any_more_is_said_on_its_page(own_site: Site) -> None:
    admin = Client(own_site)
    for state, asked, code in (("completed", "cancellations", "run_over"), ("executing", "replays", "run_not_over")):
        refused = admin.post(f"/runs/{run(own_site, state)}/{asked}")
        assert refused.status_code == 409 and code in refused.text, refused.text[:500]
    admin.close()


def test_a_verification_is_cancelled_and_begun_anew_from_its_page(own_site: Site) -> None:
    admin = Client(own_site)
    at = f"/candidates/{candidate(own_site, 'verifying')}"
    assert "Cancel verification" in admin.get(at).text
    assert admin.post(f"{at}/cancellations").status_code in (200, 303)
    page = admin.get(at).text
    assert "cancelled the verification at" in page and "Verify again" in page and "Cancel verification" not in page
    refused = admin.post(f"{at}/cancellations")
    assert refused.status_code == 409 and "nothing to cancel" in refused.text
    operator = Client(own_site, OPERATOR_KEY)
    barred = operator.post(f"{at}/verifications")
    assert barred.status_code == 403 and "candidates:submit" in barred.text, "who may not, and asks all the same, is told so"
    operator.close()
    assert admin.post(f"{at}/verifications").status_code in (200, 303)
    assert "Cancel verification" in admin.get(at).text
    admin.close()


def test_text_written_by_others_is_escaped_everywhere(own_site: Site) -> None:
    hostile = "<img src=x onerror=alert(1)>\"'</script>"
    with own_site.database.writing() as session:
        from sqlmodel import select  # used by this test alone

        from app.candidates.models import Candidate, CandidateFile  # as above
        from app.runtime.models import Effect, LogLine, Run  # as above

        one = candidate(own_site, "passed")
        for file in session.exec(select(CandidateFile).where(CandidateFile.candidate_id == one)):
            file.content = f"# {hostile}\n{hostile}\n"
        row = session.get(Candidate, one)
        assert row is not None
        row.notes = hostile
        over = session.get(Run, run(own_site, "quarantined"))
        assert over is not None
        over.error = {"code": hostile, "message": hostile}
        session.add(LogLine(run_id=over.id, at=over.created_at, event=hostile, fields={hostile: hostile}))
        effect = session.exec(select(Effect).where(Effect.id == UNKNOWN)).one()
        effect.subject, effect.item = hostile, json.dumps({"to": hostile})
    client = Client(own_site)
    for path in (f"/candidates/{one}", f"/candidates/{one}/code", f"/candidates/{one}/changes", f"/runs/{over.id}", f"/effects/{UNKNOWN}"):
        text = client.get(path).text
        assert "onerror" in text, path
        assert "<img" not in text, path
    client.close()


def test_a_run_shows_what_it_was_called_with_to_whoever_sees_it_until_retention_takes_it(own_site: Site) -> None:
    admin, stranger = Client(own_site), Client(own_site, VIEWER_KEY)
    one = run(own_site, "completed")
    text = admin.get(f"/runs/{one}").text
    assert "Arguments</h2>" in text and "&#34;campaign_id&#34;: &#34;spring-2026&#34;" in text and 'aria-label="Copy the arguments"' in text
    assert stranger.get(f"/runs/{one}").status_code == 404
    with own_site.database.writing() as session:
        long = {"body": json.dumps({"campaign_id": "x" * 60_000})}
        session.connection().execute(sa.text("UPDATE payload SET body = :body WHERE body LIKE '%spring-2026%'"), long)
    cut = admin.get(f"/runs/{one}").text
    assert "characters more" in cut and f"/api/v1/runs/{one}/args" in cut and len(cut) < 100_000
    with own_site.database.writing() as session:
        session.connection().execute(sa.text("UPDATE run SET kept = 'nothing' WHERE id = :id"), {"id": one})
    assert "Arguments</h2>" not in admin.get(f"/runs/{one}").text
    admin.close()
    stranger.close()


def test_an_error_page_keeps_the_sections_and_links_to_where_its_address_belongs(site: Site, admin: Client) -> None:
    for path, link in {
        "/runs/run_none": 'href="/runs">Go to Runs<',
        "/effects/eff_none": 'href="/queues">Go to Queues<',
        "/runs?state=failed&cursor=nonsense": 'href="/runs?state=failed">From the first page<',
        "/runs?state=nonsense": 'href="/runs">Without the filter<',
        "/redrives?kind=odd": 'href="/redrives">Without the filter<',
        "/ledgers/campaigns/none": 'href="/ledgers">Go to Ledgers<',
    }.items():
        text = admin.get(path).text
        assert link in text and 'aria-label="Sections"' in text and "Sign out" in text, path
        assert "GET /" not in text and "without a cursor" not in text, path
    viewer, nobody = Client(site, VIEWER_KEY), Client(site, None)
    assert "Go to Connections" not in viewer.get("/connections/none").text
    assert 'aria-label="Sections"' not in nobody.get("/nothing").text
    assert "From the first page" in admin.get("/runs?cursor=x", hx_request="true", hx_request_type="partial").text
    viewer.close()
    nobody.close()


def test_a_list_that_its_filter_leaves_empty_links_to_itself_without_one(admin: Client) -> None:
    for path in ("/runs?tool=nothing", "/tools?search=xyzzy", "/candidates?tool=nothing", "/audit?target=nothing", "/outbox?recipient=x"):
        bare = path.partition("?")[0]
        assert f'<a class="button" href="{bare}">Show all</a>' in admin.get(path).text, path


def test_a_refused_candidate_begins_with_its_cause(site: Site, admin: Client) -> None:
    text = admin.get(f"/candidates/{candidate(site, 'refused')}").text
    cause = text.index('Refused by the gate <a href="#gate-effects">effects</a>')
    assert cause < text.index('id="gates"')
    assert 'id="cause"' not in admin.get(f"/candidates/{candidate(site, 'passed')}").text


def test_a_tools_page_calls_it_from_a_shell_with_the_arguments_of_its_first_example(admin: Client) -> None:
    command = re.search(r'<p class="command"><code>(toolmint call [^<]+)</code>', admin.get(f"/tools/{TOOL}").text)
    assert command is not None
    words = shlex.split(html.unescape(command[1]))
    assert words[:3] == ["toolmint", "call", TOOL] and words[4:] == ["--dry-run"]
    assert json.loads(words[3])["template_id"] == "spring"
