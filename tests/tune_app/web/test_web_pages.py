"""Pages without a browser: what they say, what they escape, sign-in, and the vendored files."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml

import tune_app.web
from bench.make_store import write_store
from search_spaces.errors import StudyError
from search_spaces.study_files import study_from, study_to_store
from tests.support.own_code import TRAIN, write_package
from tune_app import user_code
from tune_app.studies import read_study
from tune_app.tuning.runner import run_study
from tune_app.user_code import unpack
from tune_app.web import pages
from tune_app.web.access import COOKIE
from tune_app.web.forms import local_target
from tune_app.web.text import duration, file_size

pytestmark = pytest.mark.slow

BROWSER = {"Sec-Fetch-Site": "same-origin"}
VENDORED = {
    "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
VENDOR = Path(tune_app.web.__file__).parent / "static" / "vendor"


@pytest.fixture
def visit(site):
    client = site.client(None)
    answer = client.post("/login", data={"token": site.tokens["admin"], "target": "/"}, headers=BROWSER)
    assert answer.status_code == 303
    client.headers.update(BROWSER)
    return client


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_are_those_of_their_packages_with_their_licences(name):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == VENDORED[name]
    assert (VENDOR / f"{name.split('.')[0]}.LICENSE.txt").stat().st_size > 300


def test_sign_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(site):
    client = site.client(None)
    answer = client.post("/login", data={"token": site.tokens["read"], "target": "/queue"}, headers=BROWSER)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert answer.headers["location"] == "/queue"
    assert site.tokens["read"] not in cookie + answer.headers["location"]


def test_a_wrong_token_is_told_so_and_gives_no_cookie(site):
    answer = site.client(None).post("/login", data={"token": "wrong"}, headers=BROWSER)
    assert answer.status_code == 401
    assert "not valid" in answer.text
    assert "set-cookie" not in answer.headers


def test_sign_in_leads_back_to_the_page_that_was_left_also_after_a_mistyped_token(site):
    client, field = site.client(None), '<input type="hidden" name="target" value="{}">'
    text = client.get("/login", params={"target": "/studies/a?part=1"}).text
    assert field.format("/studies/a?part=1") in text
    text = client.post("/login", data={"token": "wrong", "target": "/queue"}, headers=BROWSER).text
    assert field.format("/queue") in text
    assert field.format("/") in client.get("/login", params={"target": "https://attacker.example"}).text
    assert field.format("/tokens") in client.get("/tokens").text


def test_what_is_sent_after_the_session_is_told_that_nothing_was_done(site):
    answer = site.client(None).post("/new/start", data={"text": "name: x"}, headers=BROWSER)
    assert (answer.status_code, "so nothing was done" in answer.text) == (401, True)


def test_sign_out_ends_the_session(site, visit):
    session = visit.cookies[COOKIE]
    assert visit.post("/logout").status_code == 303
    assert site.service.tokens.of_session(session) is None


@pytest.mark.parametrize(
    "target",
    ["https://attacker.example", "//attacker.example", "/\\attacker.example", "x", "/a\nb", "/\t/a", "//[", ""],
)
def test_sign_in_leads_nowhere_else(target):
    assert local_target(target) == "/"
    assert local_target("/studies/a?part=1") == "/studies/a?part=1"


def test_every_page_shows(visit, site):
    for path, words in {
        "/": "Does the norm matter?",
        "/?q=nothing": "No study matches",
        "/studies/invented": "Arms and seeds",
        "/studies/invented?part=live": "Answer",
        "/studies/search": "latest 30 of 30 trials",
        "/studies/invented/trials": "20 of 20 matching trials",
        "/new": "Ready studies",
        "/new?study=invented": "Extend invented",
        "/queue": "No run has been submitted",
        "/tokens": "Audit log",
        "/compare?study=invented": "compared with",
        "/api": "/api/v1/studies/{name}/curves",
    }.items():
        answer = visit.get(path)
        assert answer.status_code == 200, path
        assert words in answer.text, path
        assert not re.search(r"<script(?![^>]*src=)|\sstyle=|\son\w+=", answer.text), path
    (failed,) = visit.get("/api/v1/studies/invented/trials?status=failed").json()["trials"]
    assert "Why it did not complete" in visit.get(f"/studies/invented/trials/{failed['key']}").text


def test_a_page_that_is_not_there_says_so_as_a_page(visit):
    answer = visit.get("/studies/nothing")
    assert answer.status_code == 404
    assert "<h1>Not found</h1>" in answer.text
    assert visit.get("/nowhere").status_code == 404


def test_parts_have_a_tag_and_are_not_sent_again(visit):
    for path in ("/?part=list", "/studies/invented?part=live", "/queue?part=list"):
        first = visit.get(path)
        assert visit.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304, path


def test_hostile_texts_of_a_store_are_escaped(make_site, tmp_path):
    attack = "<script>alert(1)</script>"
    store = write_store(tmp_path / "results" / "invented", question=attack, extras=False)
    next((store / "trials").iterdir()).unlink()
    site = make_site(tmp_path / "results")
    for path in ("/", "/studies/invented", "/compare?study=invented", "/new?study=invented", f"/?q={attack}"):
        text = site.client().get(path).text
        assert attack not in text, path
        assert "&lt;script&gt;" in text, path


def test_the_study_page_gives_no_verdict_while_cells_are_missing(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    next((store / "trials").iterdir()).unlink()
    text = make_site(tmp_path / "results").client().get("/studies/invented").text
    assert "Estimates so far" in text
    assert "not yet decided: 1 of 20 cells is missing" in text
    assert 'class="verdict' not in text


def test_a_study_is_checked_as_it_is_typed(visit):
    wrong = "name: x\nbaseline:\n  model: {depth: 9}\nfactors: {model.norm: [batch, none]}\n"
    text = visit.post("/new/check", data={"text": wrong}).text
    assert "line 3" in text
    assert "6n+2" in text
    right = visit.post("/new/check", data={"text": wrong.replace("9", "8"), "overrides": "seeds=3\n"}).text
    assert "6 cells: 2 arms × 3 seeds" in right


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": "x" * 65}, "must be at most 64 characters long"),
        ({"overrides": "a=1\n" * 201}, "must be a list of at most 200 entries"),
        ({"priority": "high"}, "`priority` is &#39;high&#39;, but must be a whole number"),
        ({"priority": "101"}, "must be at most 100"),
    ],
    ids=["size", "overrides", "word", "priority"],
)
def test_a_mistake_in_a_field_of_the_form_is_named_beside_the_text_and_at_start(fields, words, visit):
    form = {"text": "name: x\nfactors: {model.norm: [batch, none]}\n", **fields}
    answer = visit.post("/new/check", data=form)
    assert (answer.status_code, words in answer.text, f"`{next(iter(fields))}`" in answer.text) == (200, True, True)
    answer = visit.post("/new/start", data=form)
    assert (answer.status_code, words in answer.text) == (422, True)


def test_a_refused_start_shows_the_form_as_it_was(visit):
    form = {"text": "name: x\nfactors: {model.nrm: [batch]}\n", "priority": "50", "study": "invented"}
    answer = visit.post("/new/start", data=form)
    assert answer.status_code == 422
    assert 'name="priority" type="number" value="50"' in answer.text
    assert "<h1>Extend invented</h1>" in answer.text


def test_the_state_and_the_reason_of_a_run_are_in_parts_that_are_fetched_again(visit, site):
    visit.post("/studies/invented/start")
    (run,) = site.service.runs.listed()
    parts = {f"/runs/{run.id}?part=status": f"/runs/{run.id}", "/studies/invented?part=runs": "/studies/invented"}
    tags = {}
    for part, whole in parts.items():
        assert f'hx-get="{part}"' in visit.get(whole).text
        answer = visit.get(part)
        assert "queued" in answer.text
        assert "<html" not in answer.text
        tags[part] = answer.headers["etag"]
    visit.post(f"/runs/{run.id}/stop")
    for part in parts:
        text = visit.get(part, headers={"If-None-Match": tags[part]}).text
        assert ("stopped" in text, "taken out of the queue" in text) == (True, True)


def test_links_that_a_poll_replaces_keep_the_focus_by_their_names(visit, site):
    visit.post("/studies/invented/start")
    (run,) = site.service.runs.listed()
    (failed,) = visit.get("/api/v1/studies/invented/trials?status=failed").json()["trials"]
    for path, name in {
        "/studies/invented?part=live": f"failure-{failed['key']}",
        "/studies/invented?part=runs": f"run-{run.id}",
        "/queue?part=list": f"log-{run.id}",
    }.items():
        assert visit.get(path).text.count(f'id="{name}"') == 1, path
    rows = re.findall(r'<a id="trial-([^"]+)" href="[^"]+/trials/([^"]+)"', visit.get("/studies/search?part=live").text)
    assert len(rows) == len(set(rows)) == 30
    assert all(name == key for name, key in rows)


def test_files_that_are_written_later_are_offered_and_those_left_out_are_counted(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    site = make_site(tmp_path / "results")
    site.service.index.least_seconds = 0.0
    client = site.client()
    first = client.get("/studies/invented")
    assert "landscape.csv" not in first.text
    (store / "landscape").mkdir()
    shutil.copy(next((store / "trials").iterdir()), store / "landscape" / "made-later.parquet")
    again = client.get("/studies/invented", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, "landscape.csv" in again.text) == (200, True)
    files = client.get("/api/v1/studies/invented/files").json()
    assert len(files) > pages.SHOWN_FILES
    assert f"and {len(files) - pages.SHOWN_FILES} more" in again.text


def test_a_study_is_started_once_from_the_page(visit, site):
    form = {"text": "name: new\nfactors: {model.norm: [batch, none]}\n", "key": "k", "priority": "1"}
    first = visit.post("/new/start", data=form)
    again = visit.post("/new/start", data=form)
    (run,) = site.service.runs.listed()
    assert first.headers["location"] == again.headers["location"] == f"/queue#run-{run.id}"
    assert "new" in visit.get("/queue").text
    assert visit.get(f"/runs/{run.id}").status_code == 200
    refused = visit.post("/new/start", data={**form, "key": "other"})
    assert (refused.status_code, "queued already" in refused.text) == (422, True)
    visit.post(f"/runs/{run.id}/stop")
    assert site.service.runs.get(run.id).state == "stopped"


def test_the_queue_leads_to_a_study_as_soon_as_its_store_is_there(make_site, tmp_path):
    site = make_site(tmp_path)
    client = site.client()
    client.post("/api/v1/runs", json={"study": "quickstart"})
    answer = client.get("/queue?part=list")
    assert "/studies/quickstart" not in answer.text
    write_store(tmp_path / "quickstart", name="quickstart", extras=False)
    site.service.index.forget_listing()
    again = client.get("/queue?part=list", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, "/studies/quickstart" in again.text) == (200, True)


def test_a_stored_study_is_started_again_from_its_store(visit, site):
    assert visit.post("/studies/invented/start").status_code == 303
    (run,) = site.service.runs.listed()
    assert run.study == "invented"
    plan = visit.post("/api/v1/plan", json={"study": site.service.runs.source(run.id)}).json()
    assert (plan["cells"], plan["new_cells"], plan["removed_cells"]) == (20, 0, 0)


RATES = {"optimizer.lr": {"loguniform": [0.001, 1.0]}, "batch_size": [32, 64]}


@pytest.mark.parametrize(
    "parts",
    [
        {"mode": "search", "space": RATES},
        {
            "factors": {"model.norm": ["batch", "none"]},
            "tune": {"space": RATES, "extra": {"norm=none": {"epochs": [3, 4]}}},
        },
    ],
)
def test_a_stored_study_with_domains_is_started_again_from_its_store(make_site, tmp_path, parts):
    assert started_again(make_site, tmp_path, study_to_store(study_from({"name": "hunt"} | parts)))["name"] == "hunt"


def test_a_search_that_an_earlier_release_stored_with_seeds_and_a_design_is_started_again(make_site, tmp_path):
    stored = study_to_store(study_from({"name": "hunt", "mode": "search", "space": RATES}))
    again = started_again(make_site, tmp_path, stored | {"seeds": [3, 4], "design": {"kind": "full_factorial"}})
    assert (again["seeds"], again.get("design")) == ([3], None)


def started_again(make_site, tmp_path, stored):
    """The study that is in the queue when the one of a store is started again."""
    folder = tmp_path / "results" / "hunt"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(stored))
    site = make_site(tmp_path / "results")
    client = site.client()
    client.headers.update(BROWSER)
    answer = client.post("/studies/hunt/start")
    assert answer.status_code == 303, answer.text
    (run,) = site.service.runs.listed()
    return yaml.safe_load(site.service.runs.source(run.id))


def test_a_study_that_was_run_elsewhere_since_its_submission_goes_on_as_its_store_has_it(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    site = make_site(tmp_path / "results")
    site.service.index.least_seconds = 0.0
    client = site.client()
    client.headers.update(BROWSER)

    def submitted():
        run = site.service.runs.listed("invented", 1)[0]
        client.post(f"/runs/{run.id}/stop")
        return site.service.runs.source(run.id)

    client.post("/studies/invented/start")
    client.post("/new/start", data={"text": f"# my words\n{submitted()}", "key": "k"})
    assert submitted().startswith("# my words")
    assert "# my words" in client.get("/new?study=invented").text  # the study of the store, as it was written
    tree = yaml.safe_load((store / "study.yaml").read_text())
    (store / "study.yaml").write_text(yaml.safe_dump({**tree, "seeds": [0, 1, 2, 3, 4, 5]}))
    assert "# my words" not in client.get("/new?study=invented").text
    client.post("/studies/invented/start")
    assert yaml.safe_load(submitted())["seeds"] == [0, 1, 2, 3, 4, 5]


def test_a_stored_study_of_own_code_is_extended_with_the_code_of_its_store(make_site, tmp_path):
    results, file = tmp_path / "results", write_package(tmp_path / "project")
    run_study(read_study(file), str(results), executor="inline")
    shutil.rmtree(tmp_path / "project")
    site = make_site(results)
    client = site.client()
    assert client.post("/studies/own/start", headers=BROWSER).status_code == 303
    (run,) = site.service.runs.listed()
    source = yaml.safe_load(site.service.runs.source(run.id))
    plan = client.post("/api/v1/plan", json={"study": {**source, "seeds": 3}}).json()
    assert (plan["cells"], plan["done"], plan["new_cells"]) == (6, 4, 2)
    (results / "own" / "code").rename(tmp_path / "gone")
    site.service.runs.stop(run.id, site.service.tokens.identify(site.tokens["admin"]))
    site.service.database.execute("DELETE FROM runs")
    answer = client.post("/studies/own/start", headers=BROWSER)
    assert (answer.status_code, "start it from its own study file" in answer.text) == (409, True)


def test_the_page_of_a_trial_shows_its_log_escaped(make_site, tmp_path):
    logs = TRAIN.replace("        net.train()\n", '        context.log("<b>epoch</b>", epoch)\n        net.train()\n')
    file = write_package(tmp_path / "project", logs, seeds=1)
    run_study(read_study(file), str(tmp_path / "results"), executor="inline")
    client = make_site(tmp_path / "results").client()
    key = client.get("/api/v1/studies/own/trials").json()["trials"][0]["key"]
    lines = [f"<b>epoch</b> {epoch}" for epoch in range(1, 5)]
    assert client.get(f"/api/v1/studies/own/trials/{key}").json()["log_lines"].split("\n") == lines
    page = client.get(f"/studies/own/trials/{key}", headers=BROWSER).text
    assert "&lt;b&gt;epoch&lt;/b&gt; 4" in page
    assert "<b>epoch</b>" not in page


def test_a_damaged_or_huge_archive_of_code_is_refused(tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="damaged"):
        unpack(b"no archive", tmp_path / "a")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr("../../evil.py", "x" * 2000)
    monkeypatch.setattr(user_code, "MOST_BYTES", 1000)
    with pytest.raises(StudyError, match="unpacks to 2,000 bytes"):
        unpack(buffer.getvalue(), tmp_path / "b")
    monkeypatch.setattr(user_code, "MOST_BYTES", 3000)
    unpack(buffer.getvalue(), tmp_path / "c")
    assert [path.name for path in tmp_path.rglob("*.py")] == ["evil.py"]
    assert (tmp_path / "c" / "evil.py").exists()


def test_tokens_are_created_and_revoked_on_their_page(visit, site):
    text = visit.post("/tokens", data={"name": "anna", "scope": "read", "days": "7"}).text
    token = re.search(r'id="created">([^<]+)<', text)[1]
    assert site.service.tokens.identify(token).scope == "read"
    assert token not in visit.get("/tokens").text
    assert visit.post("/tokens", data={"name": "anna", "scope": "read"}).status_code == 422
    visit.post("/tokens/revoke", data={"name": "anna"})
    assert site.service.tokens.identify(token) is None


def test_a_body_of_another_kind_is_refused(visit):
    assert visit.post("/new/check", json={"text": "x"}).status_code == 415
    many = "&".join(f"a{number}=1" for number in range(60))
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert visit.post("/new/check", content=many, headers=kind).status_code == 422


def test_times_and_sizes_have_units():
    assert [duration(seconds) for seconds in (None, 0.44, 35, 245, 7800)] == [
        "–",
        "0.4 s",
        "35 s",
        "4 min 05 s",
        "2 h 10 min",
    ]
    assert [file_size(size) for size in (None, 12, 1500, 2_000_000)] == ["–", "12 B", "1.5 kB", "2.0 MB"]
