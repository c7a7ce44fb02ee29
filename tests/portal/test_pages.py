"""What every page has: a policy for what it may load, a way on when something is missing, no cache of private pages."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client

from portal.models import User
from portal.templatetags.ui import breakable, played
from servers.models import Server

TEMPLATES = [
    path
    for app in ("portal", "servers", "jobs")
    for path in sorted(Path(settings.BASE_DIR, app, "templates").rglob("*.html"))
    if "admin" not in path.parts
]
ICON = "/static/icons/favicon.svg"


def test_pages_may_load_and_run_only_what_the_portal_serves(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    for path in ("/", f"/servers/{server.name}/", "/accounts/tokens/", "/nowhere/"):
        policy = client.get(path).headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_the_admins_theme_gets_what_it_needs(client: Client, mod: User) -> None:
    client.force_login(mod)
    assert "'unsafe-eval'" in client.get("/admin/").headers["Content-Security-Policy"]


def test_every_page_has_the_sites_icon(client: Client, mod: User) -> None:
    client.force_login(mod)
    assert client.get("/favicon.ico").headers["Location"] == ICON
    assert client.get(ICON).status_code == 200
    assert all(f'href="{ICON}"' in client.get(path).content.decode() for path in ("/", "/admin/"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "under 1 s"),
        (0.9, "under 1 s"),
        (1, "1 s"),
        (5.4, "5 s"),
        (12, "12 s"),
        (59.7, "1 min 0 s"),
        (3600, "1 h 0 min"),
    ],
)
def test_a_length_of_time_is_told_in_whole_seconds(seconds: float, words: str) -> None:
    assert played(seconds) == words


def test_a_name_that_may_be_broken_is_still_only_text() -> None:
    assert breakable("<b>_c1m1") == "&lt;b&gt;_<wbr>c1m1"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_scripts_styles_or_handlers_of_their_own(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "a script in the page"
    assert not re.search(r"<style|\sstyle=", text), "a style in the page"
    assert not re.search(r"\son[a-z]+=|hx-on|javascript:", text), "a handler in the page"
    assert "|safe" not in text, "text that is not escaped"


def test_private_pages_are_not_cached(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    assert "no-store" in client.get(f"/servers/{server.name}/").headers["Cache-Control"]


def test_a_missing_page_has_a_way_on(client: Client, db: None) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert 'href="/"' in answer.content.decode()


@pytest.mark.parametrize("template", ["403.html", "404.html", "429.html", "500.html", "403_csrf.html"])
def test_pages_that_say_why_not_render_without_anything(template: str, db: None) -> None:
    page = render_to_string(template)
    assert "<h1>" in page
    assert "href=" in page


def test_messages_are_escaped(client: Client, alice: User, server: Server) -> None:
    client.force_login(alice)
    page = client.post(
        f"/servers/{server.name}/people/", {"username": "<script>alert(1)</script>", "rights": []}
    ).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
