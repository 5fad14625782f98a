"""A version's page: the digest of its evidence to copy, the bundle to download, and what is told when the version does not load."""

from __future__ import annotations

import sqlalchemy as sa

from app.registry.evidence import Bundle
from app.registry.examining import problems_with
from tests.dashboard.client import Client
from tests.dashboard.ids import TOOL
from tests.dashboard.seed import OPERATOR_KEY, VIEWER_KEY
from tests.dashboard.site import Site

PAGE = f"/tools/{TOOL}/versions/2"
LINK = f'<a href="{PAGE}/bundle" download>Download</a>'


def test_a_page_gives_the_digest_to_copy_and_the_bundle_to_those_who_may_read_it(site: Site) -> None:
    operator, viewer = Client(site, OPERATOR_KEY), Client(site, VIEWER_KEY)
    answer = operator.get(f"{PAGE}/bundle")
    assert answer.status_code == 200 and answer.headers["content-disposition"] == f'attachment; filename="{TOOL}-2.bundle"'
    bundle = Bundle.decode(answer.content)
    assert problems_with(bundle) == () and (bundle.statement.tool, bundle.statement.version) == (TOOL, 2)
    page = operator.get(PAGE).text
    assert f'data-copy="{bundle.digest}"' in page and LINK in page and bundle.signature.key_id in page
    assert LINK not in viewer.get(PAGE).text and viewer.get(f"{PAGE}/bundle").status_code in (403, 404)
    assert operator.get(f"/tools/{TOOL}/versions/99/bundle").status_code == 404
    operator.close()
    viewer.close()


def test_a_version_that_does_not_load_says_why_on_its_page_and_on_the_tools(own_site: Site) -> None:
    spoil = f"UPDATE evidence_bundle SET content = replace(content, 'key_operator', 'key_other') WHERE tool = '{TOOL}' AND version = 2"
    with own_site.database.writing() as session:
        session.connection().execute(sa.text(spoil))
    operator = Client(own_site)
    page = operator.get(PAGE).text
    assert 'class="problem"' in page and "<code>bundle_altered</code>" in page and LINK not in page
    assert "<code>bundle_altered</code>" in operator.get(f"/tools/{TOOL}").text
    assert 'class="problem"' not in operator.get(f"/tools/{TOOL}/versions/1").text
    assert operator.get(f"{PAGE}/bundle").status_code == 409
    assert operator.get("/tools").status_code == 200
    operator.close()
