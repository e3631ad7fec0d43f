"""Who gets in: every route by enumeration, tokens, sessions, hosts, origins, sizes."""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from search_spaces.errors import StudyError
from tune_app.web.access import COOKIE, PUBLIC, require_rules, scope_of
from tune_app.web.database import Database
from tune_app.web.settings import Settings
from tune_app.web.tokens import SCOPES, Tokens, digest

pytestmark = pytest.mark.slow

OPEN = {"/api/v1/healthz", "/login", "/static/{name}"}
BROWSER = {"Sec-Fetch-Site": "same-origin"}


def calls(site):
    """Every route and method of the application, with a path that matches."""
    for route in site.app.routes:
        assert isinstance(route, APIRoute)
        path = re.sub(r"\{(\w+)(:path)?\}", "nothing", route.path)
        for method in sorted(route.methods - {"HEAD"}):
            yield route, method, path


def test_only_these_routes_are_open_without_a_token(site):
    assert {route.path for route, _, _ in calls(site) if scope_of(route) == PUBLIC} == OPEN


def test_without_a_token_every_other_route_answers_401(site):
    client = site.client(None)
    for route, method, path in calls(site):
        if scope_of(route) != PUBLIC:
            assert client.request(method, path, headers=BROWSER).status_code == 401, (method, path)


def test_with_a_smaller_scope_every_route_answers_403(site):
    checked = 0
    for route, method, path in calls(site):
        needed = scope_of(route)
        for scope in SCOPES[: SCOPES.index(needed)] if needed != PUBLIC else ():
            answer = site.client(scope).request(method, path)
            assert answer.status_code == 403, (method, path, scope)
            assert "scope" in answer.text
            checked += 1
    assert checked > 5


def test_a_wrong_host_is_refused_on_every_route_but_health(site):
    client = site.client()
    for _, method, path in calls(site):
        answer = client.request(method, path, headers={"Host": "attacker.example:8600"})
        assert answer.status_code == (200 if path == "/api/v1/healthz" else 421), (method, path)


@pytest.mark.parametrize("host", ["fd00::1", "fd00::2", "::1"])
def test_an_ipv6_address_is_a_host_of_its_own(host, make_site, stores):
    own, other = ("::1", "fd00::3") if host == "::1" else ("fd00::1", "fd00::3")
    client = make_site(stores, host=own, hosts=("fd00::2",), behind_proxy=True).client()
    statuses = [client.get("/api/v1/studies", headers={"Host": f"[{name}]:8600"}).status_code for name in (host, other)]
    assert statuses == [200, 421]


def test_unsafe_methods_from_another_origin_are_refused_on_every_route(site):
    client, unsafe = site.client(), 0
    for _, method, path in calls(site):
        if method not in ("GET", "HEAD", "OPTIONS"):
            for headers in (
                {"Origin": "https://attacker.example"},
                {"Origin": "null"},
                {"Origin": "http://localhost:9999"},
                {"Sec-Fetch-Site": "cross-site"},
                {"Sec-Fetch-Site": "same-site"},
            ):
                assert client.request(method, path, headers=headers).status_code == 403, (method, path, headers)
            unsafe += 1
    assert unsafe >= 5


def test_a_cookie_alone_is_not_enough_for_an_unsafe_method(site):
    client = site.client(None)
    identity = site.service.tokens.identify(site.tokens["admin"])
    client.cookies.set(COOKIE, site.service.tokens.open_session(identity))
    assert client.get("/api/v1/studies").status_code == 200
    submission = {"name": "x", "scope": "read"}
    assert client.post("/api/v1/tokens", json=submission).status_code == 403
    assert client.post("/api/v1/tokens", json=submission, headers=BROWSER).status_code == 201


def test_a_route_without_a_rule_cannot_be_added():
    router = APIRouter()
    router.add_api_route("/new", lambda: None)
    with pytest.raises(AssertionError, match="no scope"):
        require_rules(router.routes)


@pytest.mark.parametrize("name", ["team/a", "/a b?c#d"])
def test_a_token_with_any_allowed_name_can_be_revoked_by_the_api(name, site):
    client = site.client()
    token = client.post("/api/v1/tokens", json={"name": name, "scope": "read"}).json()["token"]
    assert client.delete(f"/api/v1/tokens/{quote(name, safe='')}").status_code == 204
    assert site.service.tokens.identify(token) is None


def test_tokens_are_stored_hashed_and_expire_and_can_be_revoked(site):
    tokens = site.service.tokens
    token = tokens.create("brief", "read", days=1)
    content = "".join(sqlite3.connect(site.service.settings.state_folder / "service.sqlite").iterdump())
    assert token not in content
    assert digest(token) in content
    assert tokens.identify(token).name == "brief"
    site.service.database.execute("UPDATE tokens SET expires_at = 1 WHERE name = 'brief'")
    assert tokens.identify(token) is None
    session = tokens.open_session(tokens.identify(site.tokens["run"]))
    tokens.revoke("run")
    assert tokens.identify(site.tokens["run"]) is None
    assert tokens.of_session(session) is None
    with pytest.raises(StudyError, match="no valid token"):
        tokens.revoke("run")


def test_mistakes_in_tokens_are_explained(site):
    for arguments, words in (
        (("a", "reed"), "did you mean 'read'"),
        (("", "read"), "1 to 64"),
        (("a", "read", -1), "above 0"),
    ):
        with pytest.raises(StudyError, match=words):
            site.service.tokens.create(*arguments)
    with pytest.raises(StudyError, match="there is a token of this name"):
        site.service.tokens.create("read", "read")


def test_the_first_token_is_written_once_and_only_its_owner_can_read_it(site, tmp_path):
    path = tmp_path / "first"
    assert not site.service.tokens.ensure_admin(path)
    site.service.tokens.revoke("admin")
    assert site.service.tokens.ensure_admin(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert site.service.tokens.identify(path.read_text().strip()).scope == "admin"


def test_a_first_token_whose_file_cannot_be_written_is_not_created(tmp_path, monkeypatch):
    with closing(Database(tmp_path / "state")) as database:
        tokens = Tokens(database)
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refused)
            with pytest.raises(PermissionError):
                tokens.ensure_admin(tmp_path / "first")
        assert tokens.listed() == []
        assert tokens.ensure_admin(tmp_path / "first")


def refused(*arguments):
    raise PermissionError(errno.EACCES, "Permission denied")


def test_tokens_cannot_be_tried_in_bulk(site):
    client = site.client(None)
    limit = site.service.settings.limits.failed_sign_ins_per_minute
    answers = [client.get("/api/v1/studies", headers={"Authorization": f"Bearer {n}"}) for n in range(limit + 1)]
    assert [answer.status_code for answer in answers] == [401] * limit + [429]
    assert site.client("read").get("/api/v1/studies").status_code == 429


def test_a_wrong_token_counts_once_for_a_page_too(site):
    client = site.client(None)
    limit = site.service.settings.limits.failed_sign_ins_per_minute
    answers = [client.get("/", headers={"Authorization": f"Bearer {n}"}) for n in range(limit + 1)]
    assert [answer.status_code for answer in answers] == [401] * limit + [429]
    assert site.client("read").get("/nothing").status_code == 404


def test_every_answer_has_the_security_headers(site):
    for answer in (site.client().get("/api/v1/studies"), site.client(None).get("/nothing"), site.client().get("/")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_large_body_is_refused_with_and_without_its_length(site):
    client, large = site.client(), b"x" * 1_100_000
    assert client.post("/api/v1/validate", content=large).status_code == 413
    assert client.post("/api/v1/validate", content=iter([large])).status_code == 413
    assert client.post("/api/v1/validate", headers={"Content-Length": "-1"}).status_code == 400


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "--behind-proxy"),
        ({"tls_cert": Path("a.pem")}, "belong together"),
        ({"host": "::", "tls_cert": Path("a"), "tls_key": Path("b")}, "no such file"),
    ],
)
def test_an_address_that_others_reach_needs_encryption(settings, words):
    with pytest.raises(StudyError, match=words):
        Settings(**settings).check()
    Settings(host="0.0.0.0", behind_proxy=True).check()


def test_two_servers_cannot_share_a_state(site, make_site):
    with pytest.raises(StudyError, match="another `tune-app serve`"):
        make_site(site.results, state=site.service.settings.state_folder)


def test_health_tells_nothing_and_needs_nothing(site):
    assert site.client(None).get("/api/v1/healthz", headers={"Host": "10.0.0.1"}).json() == {"status": "ok"}


def test_the_service_imports_neither_torch_nor_ray(site):
    import subprocess
    import sys

    code = (
        "import sys, tune_app.web.server, tune_app.web.client; print({'torch', 'ray', 'optuna'} & sys.modules.keys())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
