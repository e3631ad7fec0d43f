"""Reading studies over the API: what it says is what the store holds."""

from __future__ import annotations

import io
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import load_study
from analysis.plots.curves import curve_data
from analysis.stats.effects import effects
from bench.make_store import Truth, write_store
from tune_app.storage import Folder
from tune_app.tuning.store.live import LiveWriter, RunningTrial
from tune_app.web import answers, summaries
from tune_app.web.curves import mean_and_interval, spread
from tune_app.web.tables import Table, stamps, trial_rows

pytestmark = pytest.mark.slow

API = "/api/v1/studies"


@pytest.fixture
def get(site):
    client = site.client("read")

    def get(path, expect=200, **query):
        answer = client.get(API + path, params=query)
        assert answer.status_code == expect, answer.text[:500]
        return answer.json()

    return get


def test_studies_are_listed_with_state_and_cost(get):
    found = {study["name"]: study for study in get("")["studies"]}
    assert found.keys() == {"invented", "search"}
    assert found["invented"]["question"] == "Does the norm matter?"
    assert found["invented"]["state"] == "complete"
    assert found["invented"]["counts"] == {"completed": 19, "failed": 1}
    assert "1 of them failed" in found["invented"]["statement"]
    assert found["invented"]["cost"]["trial_seconds"] > 0


def test_a_study_has_a_cell_for_each_arm_and_seed(get, stores):
    study = get("/invented")
    assert len(study["cells"]) == len(study["arms"]) * len(study["seeds"]) == 20
    trials = load_study(stores / "invented").trials.set_index(["arm", "seed"])
    for cell in study["cells"]:
        row = trials.loc[cell["arm"], cell["seed"]]
        assert cell["state"] == row["status"]
        assert cell["value"] == (None if np.isnan(row["test_accuracy"]) else pytest.approx(row["test_accuracy"]))
    assert [failure["arm"] for failure in study["failures"]] == ["norm=none"]


def test_failures_are_those_of_the_current_plan_and_those_left_out_are_counted(make_site, tmp_path, monkeypatch):
    statuses = {("norm=none", 1): "failed", ("norm=none", 2): "failed", ("norm=group", 0): "diverged"}
    results = tmp_path / "results"
    store = write_store(results / "invented", truth=Truth(statuses=statuses), extras=False)
    client = make_site(results).client()
    found = client.get(f"{API}/invented").json()["failures"]
    assert {(failure["arm"], failure["seed"]) for failure in found} == statuses.keys()
    assert " more: " not in client.get("/studies/invented").text
    monkeypatch.setattr(summaries, "MAX_FAILURES", 1)
    client = make_site(results).client()
    assert len(client.get(f"{API}/invented").json()["failures"]) == 1
    assert "and 2 more: " in client.get("/studies/invented").text
    monkeypatch.undo()
    study = yaml.safe_load((store / "study.yaml").read_text())
    study["factors"]["model.norm"] = ["batch", "group"]
    (store / "study.yaml").write_text(yaml.safe_dump(study))
    (left,) = make_site(results).client().get(f"{API}/invented").json()["failures"]
    assert left["arm"] == "norm=group"


def test_effects_are_those_of_the_analysis_package(get, stores):
    found = get("/invented/effects")
    expected = effects(load_study(stores / "invented")).set_index("arm")
    assert found["decided"]
    assert sorted(row["arm"] for row in found["rows"]) == sorted(expected.index)
    for row in found["rows"]:
        assert row["difference"] == pytest.approx(expected.loc[row["arm"], "difference"])
        assert row["verdict"] == expected.loc[row["arm"], "verdict"]


def test_an_equivalent_arm_has_the_interval_and_the_p_of_the_equivalence_test(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", truth=Truth({}, noise_sd=0.001), seeds=8, rope=0.02)
    row = effects(load_study(store)).iloc[0]
    assert row.verdict == "equivalent"
    client = make_site(tmp_path / "results").client()
    found = client.get(f"{API}/invented/effects").json()["rows"][0]
    expected = {"low": row.low90, "high": row.high90, "level": 90, "p": row.equivalent_holm}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert "(90&nbsp;%)" in client.get("/studies/invented").text


def test_effects_of_a_large_study_come_from_a_child_process_and_are_the_same(make_site, stores, monkeypatch):
    small = make_site(stores).client().get(f"{API}/invented/effects").json()
    monkeypatch.setattr(answers, "LARGE", 0)
    client = make_site(stores).client()
    assert client.get(f"{API}/invented/effects").json() == small
    refused = client.get(f"{API}/invented/effects", params={"metric": "val_nothing"})
    assert (refused.status_code, "must be a metric of this study" in refused.text) == (422, True)


def test_no_verdict_is_given_while_planned_cells_are_missing(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", truth=Truth({"model.norm=none": -0.5}))
    for path in sorted((store / "trials").iterdir())[:3]:
        path.unlink()
    client = make_site(tmp_path / "results").client()
    found = client.get(f"{API}/invented/effects").json()
    assert not found["decided"]
    assert found["statement"] == "not yet decided: 3 of 20 cells are missing"
    assert all(row["verdict"] is None and row["p"] is None and row["words"] == "" for row in found["rows"])
    assert any(row["low"] is not None for row in found["rows"])
    assert client.get(f"{API}/invented").json()["statement"] == found["statement"]


def test_trials_are_paged_without_gaps_or_repeats(get):
    for sort in ("arm", "-test_accuracy", "seed", "-finished_at", "optional"):
        if sort == "optional":
            get("/invented/trials", 422, sort=sort)
            continue
        whole = [trial["key"] for trial in get("/invented/trials", sort=sort, limit=500)["trials"]]
        paged, cursor = [], None
        while True:
            query = {"sort": sort, "limit": 3, **({"cursor": cursor} if cursor else {})}
            page = get("/invented/trials", **query)
            paged += [trial["key"] for trial in page["trials"]]
            if (cursor := page["next"]) is None:
                break
        assert paged == whole
        assert len(set(paged)) == 20


def test_sorted_trials_have_those_without_a_value_last(get):
    trials = get("/invented/trials", sort="-test_accuracy")["trials"]
    values = [trial["metrics"].get("test_accuracy") for trial in trials]
    assert values[-1] is None
    assert values[:-1] == sorted(values[:-1], reverse=True)


def test_every_order_that_the_page_offers_is_there_before_a_trial_has_a_value(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    for path in (store / "trials").iterdir():
        path.unlink()
    client = make_site(tmp_path / "results").client()
    form = client.get("/studies/invented/trials").text.split('name="sort"')[1]
    orders = re.findall(r'<option value="([^"]+)"', form)
    assert "-test_accuracy" in orders
    for order in orders:
        assert client.get("/studies/invented/trials", params={"sort": order}).status_code == 200, order


def test_trials_are_filtered(get):
    assert get("/invented/trials", status="failed")["matching"] == 1
    assert {t["arm"] for t in get("/invented/trials", arm="norm=none")["trials"]} == {"norm=none"}
    assert get("/invented/trials", text="NORM=", seed=2)["matching"] == 2


@pytest.mark.parametrize("cursor", ["nonsense", "bnVsbA", "W251bGwsIDVd", "WyJhIiwgImIiXQ", "[" * 1000])
def test_a_wrong_cursor_is_refused(get, cursor):
    found = get("/invented/trials", 422, sort="seed", cursor=cursor)
    assert (found["status"], found["detail"].startswith("`cursor` is not one that this service returned")) == (
        422,
        True,
    )


def test_a_trial_shows_what_differs_from_the_baseline(get):
    failed = get("/invented/trials", status="failed")["trials"][0]
    trial = get(f"/invented/trials/{failed['key']}")
    assert trial["difference"] == {"model.norm": ["batch", "none"]}
    assert trial["reason"]
    get("/invented/trials/none", 404)


def test_arm_curves_are_the_mean_over_trials_with_a_t_interval(get, stores):
    found = get("/invented/curves", metric="val_loss")
    rows = load_study(stores / "invented").epochs
    assert sorted(curve["arm"] for curve in found["curves"]) == sorted(rows["arm"].unique())
    for curve in found["curves"]:
        by_epoch = rows[rows["arm"] == curve["arm"]].groupby("epoch")["val_loss"]
        np.testing.assert_allclose(curve["values"], by_epoch.mean(), rtol=1e-5)
        assert all(
            low < mean < high for low, mean, high in zip(curve["low"], curve["values"], curve["high"], strict=True)
        )
    assert found["metric"]["unit"] == "nats"
    assert len(get("/invented/curves", group="trial", arm="norm=group")["curves"]) == 5


def test_arm_curves_leave_out_trials_that_did_not_complete_as_the_report_does(make_site, tmp_path):
    statuses = {("norm=none", 1): "diverged", ("norm=none", 3): "pruned"}
    truth = Truth(statuses={**statuses, **{("batch_size=32", seed): "diverged" for seed in range(5)}})
    store = write_store(tmp_path / "results" / "invented", truth=truth, extras=False)
    client = make_site(tmp_path / "results").client()
    found = client.get(f"{API}/invented/curves", params={"metric": "val_loss"}).json()
    expected = curve_data(load_study(store).epochs, ["val_loss"])
    means = expected[expected["kind"] == "mean"].set_index("arm")
    shown = {curve["arm"]: curve for curve in found["curves"] if curve["seed"] is None}
    assert shown.keys() == set(means.index) == {"baseline", "norm=group", "norm=none"}
    for arm, curve in shown.items():
        assert curve["n"] == means.loc[arm, "n"].max()
        for name, column in (("values", "value"), ("low", "low"), ("high", "high")):
            np.testing.assert_allclose(curve[name], means.loc[arm, column], rtol=1e-4)
    single = {(curve["arm"], curve["seed"]): curve for curve in found["curves"] if curve["seed"] is not None}
    assert {place: curve["state"] for place, curve in single.items()} == truth.statuses
    assert single["norm=none", 1]["epochs"] == [1, 2, 3, 4, 5]
    assert found["total"] == len(found["curves"]) == 10
    few = client.get(f"{API}/invented/curves", params={"metric": "val_loss", "limit": 4}).json()
    assert [curve["seed"] is None for curve in few["curves"]].count(True) == 3
    assert (len(few["curves"]), few["total"]) == (4, 10)


def test_the_interval_is_the_t_interval_by_hand():
    table = np.array([[1.0, 5.0, np.nan], [3.0, np.nan, np.nan]])
    mean, low, high = mean_and_interval(table)
    np.testing.assert_allclose(mean, [2, 5, np.nan])
    np.testing.assert_allclose(high - mean, [12.7062047, np.nan, np.nan])  # t(1) at 97.5 %, times sqrt(2) / sqrt(2)
    np.testing.assert_allclose(mean - low, high - mean)


def test_long_curves_are_thinned_with_both_ends():
    kept = spread(10_000, 300)
    assert len(kept) == 300
    assert (kept[0], kept[-1]) == (0, 9999)
    assert spread(5, 300).tolist() == [0, 1, 2, 3, 4]


def test_answers_have_a_tag_and_are_not_sent_again(site):
    client = site.client("read")
    for path in ("", "/invented", "/invented/trials", "/invented/curves", "/invented/effects"):
        first = client.get(API + path)
        again = client.get(API + path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
        assert client.get(API + path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_new_trial_changes_the_tag_and_shows(make_site, stores, tmp_path):
    shutil.copytree(stores, tmp_path / "results")
    trials = tmp_path / "results" / "invented" / "trials"
    file = sorted(trials.iterdir())[0]
    file.rename(tmp_path / "aside")
    site = make_site(tmp_path / "results")
    site.service.index.least_seconds = 0.0
    client = site.client()
    before = client.get(f"{API}/invented")
    assert before.json()["ended"] == 19
    (tmp_path / "aside").rename(file)
    after = client.get(f"{API}/invented", headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.json()["ended"] == 20


def test_only_new_or_replaced_files_are_read(stores, tmp_path, monkeypatch):
    shutil.copytree(stores / "invented", tmp_path / "s")
    table = Table(Folder(str(tmp_path / "s" / "trials")), trial_rows)
    read = []
    monkeypatch.setattr(
        "tune_app.web.tables.read_parquet", lambda folder, name: read.append(name) or _read(folder, name)
    )

    assert table.refresh()
    assert len(read) == 20
    assert not table.refresh()
    assert len(read) == 20
    name = read[0]
    content = (tmp_path / "s" / "trials" / name).read_bytes()
    (tmp_path / "s" / "trials" / name).write_bytes(content + b"")
    (tmp_path / "s" / "trials" / "damaged.parquet").write_bytes(b"PAR1 nothing PAR1")
    assert table.refresh()
    assert sorted(read[20:]) == sorted([name, "damaged.parquet"])
    assert list(table.damaged) == ["damaged.parquet"]


def test_a_folder_is_listed_again_only_after_a_file_was_renamed_into_it(stores, tmp_path, monkeypatch):
    shutil.copytree(stores / "invented" / "trials", tmp_path / "trials")
    table, listed = Table(Folder(str(tmp_path / "trials")), trial_rows), []
    monkeypatch.setattr("tune_app.web.tables.stamps", lambda folder: listed.append(1) or stamps(folder))
    os.utime(tmp_path / "trials", (1, 1))
    assert [table.refresh(), table.refresh(), len(listed)] == [True, False, 1]
    name = sorted((tmp_path / "trials").iterdir())[0]
    name.rename(tmp_path / "moved")
    assert [table.refresh(), len(table.files), len(listed)] == [True, 19, 2]
    table.refresh()
    assert len(listed) == 3  # the folder changed a moment ago: its time is not relied on yet


def _read(folder, name):
    import pyarrow.parquet as pq

    return pq.read_table(io.BytesIO(folder.read(name)))


def test_files_are_the_store_s_and_nothing_else(site, stores, tmp_path):
    client = site.client("read")
    for name in [file["name"] for file in client.get(f"{API}/invented/files").json()][:12]:
        answer = client.get(f"{API}/invented/files/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
    table = pd.read_parquet(io.BytesIO(client.get(f"{API}/invented/files/trials.parquet").content))
    assert len(table) == 20
    assert (
        len(pd.read_csv(io.StringIO(client.get(f"{API}/invented/files/epochs.csv").text))) == 190
    )  # 19 completed trials
    for name in (
        "../search/study.yaml",
        "..%2fsearch%2fstudy.yaml",
        "/etc/passwd",
        "trials/%2e%2e/study.yaml",
        ".holder",
        "x",
    ):
        assert client.get(f"{API}/invented/files/{name}").status_code == 404


def test_links_out_of_the_results_folder_are_not_followed(make_site, tmp_path):
    write_store(tmp_path / "outside")
    results = tmp_path / "results"
    write_store(results / "inside")
    (results / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "secret").write_text("secret")
    (results / "inside" / "environment.json").unlink()
    (results / "inside" / "environment.json").symlink_to(tmp_path / "secret")
    client = make_site(results).client()
    assert [study["name"] for study in client.get(API).json()["studies"]] == ["inside"]
    assert client.get(f"{API}/inside/files/environment.json").status_code == 404


def test_texts_that_a_spreadsheet_would_execute_are_quoted_in_csv(make_site, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    store = write_store(tmp_path / "results" / "invented", extras=False)
    file = next((store / "trials").iterdir())
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.schema.get_field_index("node"), "node", pa.array(["=cmd()"])), file)
    text = make_site(tmp_path / "results").client().get(f"{API}/invented/files/trials.csv").text
    assert "'=cmd()" in text
    assert '"=cmd()' not in text


def test_the_report_is_served_in_a_sandbox_with_the_hash_of_its_script(site):
    answer = site.client("read").get(f"{API}/invented/report")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox")
    assert "script-src 'sha256-" in policy
    assert "Does the norm matter?" in answer.text


def test_what_is_not_there_is_a_problem_document(get):
    for path in ("/nothing", "/nothing/trials", "/..", "/Nothing%20at%20all"):
        get(path, 404)
    found = get("/nothing", 404)
    assert found["title"] == "Not found"
    assert found["status"] == 404


def test_a_damaged_study_is_listed_with_its_problem(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    (store / "study.yaml").write_text("name: invented\nfactors: {nothing: 1}\n")
    client = make_site(tmp_path / "results").client()
    (study,) = client.get(API).json()["studies"]
    assert study["state"] == "unreadable"
    assert "cannot be planned" in client.get(f"{API}/invented").json()["problems"][0]


def test_running_trials_come_from_the_live_state(make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    file = sorted((store / "trials").iterdir())[0]
    digest, fingerprint = file.stem.split("-")
    file.unlink()
    live = LiveWriter(Folder(str(store)), "invented")
    points = {"val_loss": [(1, 2.5), (2, float("nan")), (3, 1.5)]}
    trial = RunningTrial(digest, fingerprint, "any", 0, 3, 10, "host", 0.25, points=points)
    assert live.update([trial], {"completed": 4}, 20, 0, seconds_left=75.5)
    site = make_site(tmp_path / "results")
    site.service.index.least_seconds = 0.0
    client = site.client()
    study = client.get(f"{API}/invented").json()
    assert study["state"] == "running"
    assert study["eta_seconds"] == 75.5
    (cell,) = [cell for cell in study["cells"] if cell["state"] == "running"]
    assert (cell["epoch"], cell["epochs"]) == (3, 10)
    curves = client.get(f"{API}/invented/curves", params={"group": "trial", "metric": "val_loss"}).json()["curves"]
    assert (curves[0]["epochs"], curves[0]["values"], curves[0]["state"]) == ([1, 3], [2.5, 1.5], "running")
    means = client.get(f"{API}/invented/curves", params={"group": "arm", "metric": "val_loss"}).json()["curves"]
    assert [curve["epochs"] for curve in means if curve["seed"] is not None] == [[1, 3]]
    live.close()
    assert client.get(f"{API}/invented").json()["state"] == "incomplete"


def test_live_state_is_written_at_most_once_a_second_and_never_half(tmp_path):
    now = [100.0]
    live = LiveWriter(Folder(str(tmp_path)), "s", clock=lambda: now[0])
    assert live.update([], {}, 3, 0)
    now[0] += 0.9
    assert not live.update([], {"completed": 1}, 3, 0)
    now[0] += 0.2
    assert live.update([], {"completed": 1}, 3, 0, seconds_left=2.5)
    found = json.loads((tmp_path / "live.json").read_text())
    assert found["counts"] == {"completed": 1}
    assert found["eta_seconds"] == 2.5
    assert [path.name for path in tmp_path.iterdir()] == ["live.json"]


def test_live_state_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    live = LiveWriter(Folder(str(tmp_path / "file")), "s")
    assert not live.update([], {}, None, 0)
    assert isinstance(live.error, OSError)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"version": 1}', b'{"version": 2}', b"\xff", b'{"version":1,"updated_at":"x","already":0}'],
)
def test_a_live_state_of_another_kind_is_left_out(content, make_site, tmp_path):
    store = write_store(tmp_path / "results" / "invented", extras=False)
    (store / "live.json").write_bytes(content)
    study = make_site(tmp_path / "results").client().get(f"{API}/invented").json()
    assert (study["running"], study["state"]) == (0, "complete")


def test_a_study_of_many_trials_is_paged_from_memory(make_site, tmp_path):
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}}
    write_store(
        tmp_path / "results" / "many", space=space, trials=400, epochs=9, extras=False, compact=True, name="many"
    )
    client = make_site(tmp_path / "results").client()
    assert client.get(f"{API}/many/trials", params={"limit": 50}).json()["matching"] == 400
    assert client.get(f"{API}/many/trials", params={"limit": 501}).status_code == 422
    found = client.get(f"{API}/many/curves", params={"group": "trial", "limit": 10}).json()
    assert (len(found["curves"]), found["total"]) == (10, 400)


def test_costs_are_given_by_arm_and_against_the_budget(make_site, tmp_path):
    budget = {"cpu_hours": 1e-6, "money": 500.0, "price": {"cpu_hour": 2.0}}
    write_store(tmp_path / "results" / "invented", extras=False, budget=budget)
    space = {"optimizer.lr": {"loguniform": [0.001, 1.0]}}
    write_store(tmp_path / "results" / "search", space=space, name="search", trials=30, extras=False)
    client = make_site(tmp_path / "results").client()
    study = client.get(f"{API}/invented").json()
    limits = {one["name"]: one for one in study["costs"]["limits"]}
    hours = study["cost"]["cpu_seconds"] / 3600
    assert (limits["cpu_hours"]["spent"], limits["cpu_hours"]["left"]) == (pytest.approx(hours), 0)
    assert limits["money"]["spent"] == pytest.approx(2 * hours) == pytest.approx(study["cost"]["money"])
    assert sum(arm["cpu_seconds"] for arm in study["costs"]["arms"].values()) == pytest.approx(hours * 3600)
    assert study["costs"]["saved"] is None
    page = client.get("/studies/invented").text
    assert "the budget is spent" in page
    saved = client.get(f"{API}/search").json()["costs"]["saved"]
    assert saved["trial_seconds"] > 0
    assert saved["money"] is None
    assert "Pruning saved about" in client.get("/studies/search").text
    plan = client.get(f"{API}/invented/plan").json()
    assert any(note.startswith("budget: cpu_hours") for note in plan["notes"])


def test_a_search_of_a_finite_space_ends_with_its_last_config(make_site, tmp_path):
    space = {"model.norm": ["batch", "none"], "batch_size": [16, 32, 64]}
    write_store(tmp_path / "results" / "search", space=space, name="search", epochs=2, extras=False)
    client = make_site(tmp_path / "results").client()
    study = client.get(f"{API}/search").json()
    assert (study["planned"], study["ended"], study["state"]) == (6, 6, "complete")
    assert study["statement"] == "6 of 6 trials are finished"
    plan = client.get(f"{API}/search/plan").json()
    assert (plan["cells"], plan["done"], plan["missing"]) == (6, 6, 0)
    text = f"name: x\nmode: search\nspace: {json.dumps(space)}\n"
    assert client.post("/api/v1/validate", json={"study": text}).json()["cells"] == 6


def test_correct_images_are_fetched_as_parquet_and_with_their_bits_in_hexadecimal_as_csv(make_site, tmp_path):
    from tune_app.tuning.store.writer import parquet_bytes

    store = write_store(tmp_path / "results" / "invented", extras=False)
    name = sorted((store / "trials").iterdir())[0].name
    row = {"digest": name[:16], "fingerprint": name[17:33], "split": "test", "images": "a" * 16, "n": 10}
    (store / "correct").mkdir()
    (store / "correct" / name).write_bytes(parquet_bytes("correct", [row | {"bits": b"\xff\x40"}]))
    client = make_site(tmp_path / "results").client()
    listed = [file["name"] for file in client.get(f"{API}/invented/files").json()]
    assert {"correct.parquet", "correct.csv", f"correct/{name}"} <= set(listed)
    whole = pd.read_parquet(io.BytesIO(client.get(f"{API}/invented/files/correct.parquet").content))
    assert whole["bits"].tolist() == [b"\xff\x40"]
    text = pd.read_csv(io.StringIO(client.get(f"{API}/invented/files/correct.csv").text), dtype=str)
    assert text["bits"].tolist() == ["ff40"]
    assert f"correct/{name}" in client.get(f"{API}/invented/trials/{name.removesuffix('.parquet')}").json()["files"]
