"""The routes below /status over HTTP: who gets the data, and that it is true."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.auth import status_tokens, tokens
from assetstore.fixity.verification import MEANINGS
from assetstore.originals import trash_selection
from assetstore.routes import status
from assetstore.storage.trash_names import stamp
from tests import pictures
from tests.status_client import ask, data, target, token
from tests.support import KEY, PROJECT, Client, Response, RunningServer, is_of_this_run

Start = Callable[..., RunningServer]

PARTS = (
    "overview",
    "storage",
    "activity",
    "originals",
    "files",
    "files-total",
    "files-types",
    "trash",
    "trash-plan",
    "visibility",
)


def with_token(client: Client, text: str, address: str = "/status/data/trash", method: str = "GET") -> Response:
    return client.request(method, address, headers={status_tokens.HEADER: text})


# --- Who may ---


@pytest.mark.parametrize("part", PARTS)
def test_data_requires_the_key(server: RunningServer, part: str) -> None:
    address = f"/status/data/{part}"
    stranger = Client(server.port, "another key")
    for answer in (server.get(address), with_token(stranger, token(stranger, f"GET {address}"), address)):
        assert answer.status == 403
        assert "key" in answer.text
        assert answer.headers["content-type"].startswith("text/plain")
    assert ask(server, "GET", f"data/{part}").status == 200


def test_a_token_is_for_one_request_only(server: RunningServer) -> None:
    good = token(server, "GET /status/data/trash?search=a")
    assert with_token(server, good, "/status/data/trash?search=a").status == 200
    for other in ("/status/data/trash?search=b", "/status/data/trash", "/status/data/trash?search=a&place="):
        assert with_token(server, good, other).status == 403
    assert with_token(server, good, "/status/data/trash?search=a", "HEAD").status == 403


def test_tokens_of_the_page_expire_like_all_tokens(server: RunningServer) -> None:
    for age, status_code in ((140, 200), (150, 403), (-160, 403)):
        answer = with_token(server, token(server, "GET /status/data/trash", age))
        assert answer.status == status_code, age
    assert "TIME_TOLERANCE" in answer.text


def test_tokens_of_the_page_expire_even_without_a_time_tolerance(start: Start) -> None:
    server = start(TIME_TOLERANCE=None)
    assert with_token(server, token(server, "GET /status/data/trash", 149)).status == 200
    assert with_token(server, token(server, "GET /status/data/trash", 151)).status == 403


def test_tokens_of_clients_and_of_the_page_are_not_interchangeable(
    server: RunningServer,
) -> None:
    request = "GET /status/data/trash"
    # What Specify 7 signs for whoever is logged in: any name, with the key itself.
    assert with_token(server, tokens.make(KEY, request, int(time.time()))).status == 403
    # What is signed for the page, as the token of a file of that name.
    assert server.get("/testkey", random=request, token=token(server, request)).status == 403
    server.upload("a.txt", b"a")
    for_page = token(server, "a.txt")
    answer = server.post_form("/filedelete", f"filename=a.txt&token={for_page}".encode())
    assert (answer.status, (server.originals / "a.txt").exists()) == (403, True)


def test_with_key_none_the_page_shows_no_data(start: Start) -> None:
    server = start(KEY=None)
    assert server.get("/status").status == 200
    for key in ("", "None", KEY):
        answer = ask(Client(server.port, key), "GET", "data/overview")
        assert answer.status == 403
        assert "KEY is None" in answer.text


def test_each_of_several_keys_unlocks_the_page(start: Start) -> None:
    server = start(KEY=["new", "old"])
    for key, status_code in (("new", 200), ("old", 200), ("older", 403)):
        assert ask(Client(server.port, key), "GET", "data/overview").status == status_code


def test_wrong_keys_are_counted_with_rejected_tokens(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    stranger = Client(server.port, "another key")
    forged = token(stranger, "GET /status/data/overview")
    with_token(server, forged, "/status/data/overview")
    server.get("/testkey", random="1", token="x")
    with_token(server, forged, "/status/data/overview")
    assert "rejected token 3 from 127.0.0.1" in caplog.text
    assert forged.partition(":")[0] not in caplog.text


def test_a_disabled_page_is_404(start: Start) -> None:
    server = start(STATUS_PAGE=False)
    for path in ("/status", "/status/view/main.js", "/status/data/overview", "/status/restore", "/status/zip"):
        assert server.get(path).text == "There is nothing at this address."
    assert ask(server, "GET", "data/overview").status == 404
    assert 'href="status"' not in server.get("/").text


# --- The page and its files ---


def test_the_page_runs_only_its_own_files_and_cannot_be_framed(server: RunningServer) -> None:
    first, second = server.get("/status"), server.get("/status")
    assert 'href="status"' in server.get("/").text
    for answer in (first, second):
        policy = answer.headers["content-security-policy"]
        nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
        assert answer.text.count(f'nonce="{nonce}"') == 2
        assert f"script-src 'nonce-{nonce}';" in policy
        assert f"style-src 'nonce-{nonce}';" in policy
        for rule in ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"):
            assert rule in policy
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
    assert first.text != second.text


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://assets.museum.org", "https://assets.museum.org"),
        ("https://museum.org:8443/assets", "https://museum.org:8443"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://a;script-src", "https://a"),
    ],
)
def test_the_page_may_contact_only_the_advertised_origin_whatever_the_settings(
    start: Start, url: str, asked: str
) -> None:
    policy = start(PUBLIC_URL=url).get("/status").headers["content-security-policy"]
    assert f"connect-src 'self' {asked}; require-trusted-types-for" in policy
    assert policy.count("script-src") == 1


def test_exactly_the_files_of_the_page_are_served(server: RunningServer) -> None:
    folder = PROJECT / "views/status"
    assert {path.name for path in folder.iterdir()} == set(status.FILES)
    for name, media_type in status.FILES.items():
        answer = server.get(f"/status/view/{name}")
        assert (answer.status, answer.headers["content-type"]) == (200, media_type)
        assert answer.body == (folder / name).read_bytes()
    for path in (
        "",
        "index.tpl",
        "../index.tpl",
        "..%2findex.tpl",
        "..%2f..%2fsettings.py",
        "%2fetc%2fpasswd",
        "main.js%00",
    ):
        assert server.get(f"/status/view/{path}").status in (400, 404), path


def test_the_page_generates_no_markup_and_contacts_no_other_host() -> None:
    for path in sorted((PROJECT / "views/status").glob("*.js")):
        text = path.read_text(encoding="utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Storage.",
            "document.cookie",
        ):
            assert word not in text, (path.name, word)
        assert "http://www.w3.org/2000/svg" in text or "//www." not in text
    template = (PROJECT / "views/status.tpl").read_text(encoding="utf-8")
    assert "style=" not in template
    assert "<style" not in template
    assert "onclick" not in template


# --- The data ---


def test_the_overview_shows_health_versions_queue_and_limits(start: Start) -> None:
    server = start(MAX_UPLOAD_BYTES=5000, TRASH_DAYS=7, THREADS=40, limits={"render_workers": 3})
    told = data(server, "overview")
    assert told["ready"] is True
    assert told["checks"]["store"] == {"status": "ok", "reason": "Storage is writable."}
    assert set(told["versions"]) == {"Web Asset Server", "Python", "ImageMagick", "Ghostscript"}
    assert all(version and version[0].isdigit() for version in told["versions"].values())
    assert told["rendering"] == {"busy": 0, "most": 3, "waiting": 0, "most_waiting": 20, "in_background": 0}
    assert (told["most_upload_bytes"], told["trash_days"]) == (5000, 7)
    assert told["collections"] == [{"place": "", "name": ""}]
    plan = {"days": 0, "command": "python manage.py verify", "meanings": MEANINGS}
    assert told["verification"] == {**plan, "last": None, "findings": [], "fault": None}


def test_a_waiting_request_is_shown_in_the_queue(server: RunningServer) -> None:
    server.context.thumbnails._waiting.acquire("a")
    assert data(server, "overview")["rendering"]["waiting"] == 1
    server.context.thumbnails._waiting.release("a")


def test_the_overview_shows_the_findings_of_the_last_verification(server: RunningServer) -> None:
    import threading

    from assetstore.concurrency.rate_limit import RateLimit
    from assetstore.fixity.verification import Verification

    server.upload("good.txt", b"good")
    server.upload("bad.txt", b"bad")
    (server.originals / "bad.txt").write_bytes(b"rotten")
    (server.originals / "line\nbreak.txt").write_bytes(b"copied in by hand")
    run = Verification(
        server.context.originals, RateLimit(None, threading.Event()), adopt=False, accept=False, client="test"
    )
    list(run.run(False))
    told = data(server, "overview")["verification"]
    assert told["last"]["summary"]["findings"] == {"changed": 1, "unknown": 1, "unreachable": 1}
    kinds = [found["finding"].split() for found in told["findings"]]
    assert sorted(kinds) == [["changed"], ["unknown", "unreachable"]]
    assert all(told["meanings"][kind] for finding in kinds for kind in finding)


def surveyed(client: Client) -> dict[str, object]:
    """The survey when it has been made."""
    for _ in range(200):
        told: dict[str, object] = data(client, "storage")
        if told["ready"] or told["fault"]:
            return told
        time.sleep(0.02)
    raise AssertionError("no survey")


def test_the_storage_report_shows_collections_trash_and_free_space(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish", "KU Herps": "herps"}, RESERVED_BYTES=1000)
    server.upload("a", bytes(1000), coll="KU Fish")
    server.upload("b", bytes(500), coll="KU Herps")
    server.upload("b", bytes(200), coll="KU Herps")
    told = surveyed(server)
    assert told["places"] == [
        {"place": "fish", "files": 1, "bytes": 1000},
        {"place": "herps", "files": 1, "bytes": 200},
    ]
    assert (told["files"], told["bytes"], told["trash_bytes"]) == (2, 1200, 500)
    assert isinstance(told["room"], int)
    assert told["months"] == [
        {"month": time.strftime("%Y-%m", time.gmtime()), "uploads": 3, "stored": 1700, "freed": 0}
    ]
    assert told["daily"] is None, "a journal of seconds is too young for a forecast"
    assert {"place": "fish", "name": "KU Fish"} in data(server, "overview")["collections"]


def test_a_store_that_cannot_be_counted_is_reported(server: RunningServer) -> None:
    server.originals.rename(server.base / "elsewhere")
    assert surveyed(server)["fault"] == "The folder of originals cannot be read."
    (server.base / "elsewhere").rename(server.originals)


def test_the_activity_lists_changes_and_rejections_newest_first(server: RunningServer) -> None:
    server.upload("a.txt", b"one")
    server.delete("a.txt")
    server.get("/fileget", filename="missing.txt")
    server.get("/testkey", random="1", token="x")
    server.get("/wp-login.php")
    told = data(server, "activity")
    assert [(event["operation"], event["name"], event["client"]) for event in told["events"]] == [
        ("deleted", "a.txt", "127.0.0.1"),
        ("stored", "a.txt", "127.0.0.1"),
    ]
    assert is_of_this_run(told["events"][0]["time"])
    refusals = [(refusal["status"], refusal["path"], refusal["name"]) for refusal in told["refusals"]]
    assert refusals == [(403, "/testkey", ""), (404, "/fileget", "missing.txt")]
    assert told["refusals"][1]["sentence"] == "There is no such file."
    assert len(data(server, "activity", operation="stored")["events"]) == 1
    assert ask(server, "GET", "data/activity", operation="x").status == 400


def test_many_events_of_one_kind_do_not_displace_the_others(server: RunningServer) -> None:
    server.get("/testkey", random="1", token="x")
    for number in range(60):
        server.get("/fileget", filename=f"{number}.txt")
    refusals = data(server, "activity")["refusals"]
    assert len(refusals) == 51
    assert refusals[-1]["status"] == 403
    assert refusals[0]["name"] == "59.txt"


def test_an_original_is_found_by_its_exact_name(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish", "KU Herps": "herps"})
    server.upload("a.jpg", pictures.jpeg(), coll="KU Fish")
    server.upload("a.jpg", b"22", coll="KU Herps")
    found = data(server, "originals", name="a.jpg")["originals"]
    assert [(row["place"], row["type"], row["has_thumbnail"]) for row in found] == [
        ("fish", "image/jpeg", True),
        ("herps", "image/jpeg", True),
    ]
    assert [row["size"] for row in data(server, "originals", name="a.jpg", place="herps")["originals"]] == [2]
    for other in ({"name": "a"}, {"name": "../key"}, {"name": "a.jpg", "place": "../.."}, {}):
        assert data(server, "originals", **other)["originals"] == []


def test_the_page_works_without_the_journal(server: RunningServer) -> None:
    server.upload("fish.txt", b"x")
    journal = server.base / ".asset-server/journal"
    server.context.originals.journal.close()
    shutil.rmtree(journal)
    journal.write_bytes(b"no folder")
    assert len(data(server, "originals", name="fish.txt")["originals"]) == 1
    assert data(server, "overview")["verification"]["fault"] == "The journal cannot be used."
    assert surveyed(server)["files"] == 1


# --- Trash ---


def test_a_deleted_file_is_in_the_trash_and_can_be_restored(server: RunningServer) -> None:
    server.upload("täg.txt", b"one")
    server.delete("täg.txt")
    [entry] = data(server, "trash", search="TÄG")["entries"]
    assert (entry["name"], entry["reason"], entry["size"], entry["exists"]) == ("täg.txt", "deleted", 3, False)
    answer = ask(server, "POST", "restore", place=entry["place"], entry=entry["entry"])
    assert (answer.status, answer.text) == (200, "Ok.")
    assert server.get("/fileget", filename="täg.txt").body == b"one"
    assert data(server, "trash")["entries"] == []
    event = data(server, "activity")["events"][0]
    assert (event["operation"], event["client"]) == ("restored", "127.0.0.1")
    again = ask(server, "POST", "restore", place=entry["place"], entry=entry["entry"])
    assert (again.status, again.text) == (404, "The file is no longer in the trash.")


def test_an_existing_file_is_replaced_only_on_request_and_trashed(
    server: RunningServer,
) -> None:
    server.upload("a.txt", b"old")
    server.upload("a.txt", b"new")
    [entry] = data(server, "trash")["entries"]
    assert entry["exists"] is True
    answer = ask(server, "POST", "restore", place="", entry=entry["entry"])
    assert (answer.status, answer.text) == (400, "A file with this name exists already.")
    assert server.get("/fileget", filename="a.txt").body == b"new"
    assert ask(server, "POST", "restore", place="", entry=entry["entry"], replace="yes").status == 200
    assert server.get("/fileget", filename="a.txt").body == b"old"
    assert [entry["size"] for entry in data(server, "trash")["entries"]] == [3]


def test_without_a_trash_a_restore_never_overwrites_a_file(server: RunningServer) -> None:
    server.upload("a.txt", b"old")
    server.upload("a.txt", b"new")
    other = server.restarted(TRASH_DAYS=0)
    try:
        [entry] = data(other, "trash")["entries"]
        answer = ask(other, "POST", "restore", place="", entry=entry["entry"], replace="yes")
        assert answer.status == 400
        assert "would be lost" in answer.text
        assert other.get("/fileget", filename="a.txt").body == b"new"
    finally:
        other.stop()


def test_a_large_trash_is_sent_in_pages_that_stay_the_same_while_files_are_added(server: RunningServer) -> None:
    for number in range(230):
        put_in_trash(server, f"{number:03}.txt", number)
    first = data(server, "trash")
    assert (first["number"], first["bytes"], len(first["entries"])) == (230, 460, 100)
    put_in_trash(server, "new.txt", 1000)
    second = data(server, "trash", after=first["following"])
    third = data(server, "trash", after=second["following"])
    names = [entry["name"] for page in (first, second, third) for entry in page["entries"]]
    assert names == [f"{number:03}.txt" for number in range(229, -1, -1)]
    assert third["following"] is None
    assert ask(server, "GET", "data/trash", after="x").status == 400


def test_the_trash_is_counted_by_quarters_of_an_hour_for_the_days_of_the_reader(server: RunningServer) -> None:
    for second in (0, 899, 900, 86_400):
        put_in_trash(server, f"{second}.txt", second)
    told = data(server, "trash")
    assert told["quarters"] == [[BEGIN + 86_400, 1, 2], [BEGIN + 900, 1, 2], [BEGIN, 2, 4]]
    day = data(server, "trash", since=str(BEGIN), until=str(BEGIN + 900), search="9")
    assert [entry["name"] for entry in day["entries"]] == ["899.txt"]
    for wrong in ("yesterday", "nan", "-1", "1e30"):
        assert ask(server, "GET", "data/trash", since=wrong).status == 400


def test_a_time_window_is_restored_as_its_preview_shows(server: RunningServer) -> None:
    for name, second in (("early.txt", 0), ("a.txt", 1000), ("a.txt", 1001), ("b.txt", 1002), ("late.txt", 2000)):
        put_in_trash(server, name, second)
    server.upload("b.txt", b"current")
    window = {"since": str(BEGIN + 900), "until": str(BEGIN + 1900)}
    plan = data(server, "trash-plan", **window)
    assert plan["restored"] == {"number": 1, "bytes": 2, "names": ["a.txt"]}
    assert plan["replacing"] == {"number": 1, "bytes": 2, "names": ["b.txt"]}
    assert plan["older"] == 1

    done = json.loads(ask(server, "POST", "restore-all", **{**window, "until": plan["until"]}).body)
    assert done == {"restored": 1, "replaced": 0, "skipped": 1, "failed": [], "following": None}
    assert server.get("/fileget", filename="a.txt").status == 200
    assert server.get("/fileget", filename="b.txt").body == b"current"
    assert server.get("/fileget", filename="early.txt").status == 404

    done = json.loads(ask(server, "POST", "restore-all", **window, search="b", replace="yes").body)
    assert (done["restored"], done["replaced"]) == (0, 1)
    assert server.get("/fileget", filename="b.txt").body == b"xx"
    left = [entry["name"] for entry in data(server, "trash")["entries"]]
    assert left == ["b.txt", "late.txt", "a.txt", "early.txt"], "what was replaced, and the older version"


def test_restoring_a_selection_goes_on_where_it_stopped(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trash_selection, "_RESTORE_SECONDS", -1)
    for number in range(3):
        for second in (1, 2):
            put_in_trash(server, f"{number}.txt", second)
    until, after, rounds = str(BEGIN + 10), {}, 0
    while rounds < 5:
        done = json.loads(ask(server, "POST", "restore-all", until=until, **after).body)
        assert done["restored"] == 1
        rounds += 1
        if done["following"] is None:
            break
        after = {"after": done["following"]}
    assert rounds == 3, "each name once, although it has another version"
    assert data(server, "trash")["number"] == 3


def test_a_selection_that_could_include_what_it_replaces_is_rejected(server: RunningServer) -> None:
    for until in ({}, {"until": str(time.time() + 60)}):
        answer = ask(server, "POST", "restore-all", **until)
        assert (answer.status, answer.text) == (400, "The time window must end before now.")
    other = server.restarted(TRASH_DAYS=0)
    try:
        answer = ask(other, "POST", "restore-all", until="1", replace="yes")
        assert (answer.status, "would be lost" in answer.text) == (400, True)
    finally:
        other.stop()


def test_files_in_the_trash_have_thumbnails_that_are_not_cached(server: RunningServer) -> None:
    server.upload("a.jpg", pictures.jpeg())
    server.upload("b.jpg", b"not a picture")
    server.upload("c.txt", b"text")
    for name in ("a.jpg", "b.jpg", "c.txt"):
        server.delete(name)
    entries = {entry["name"]: entry for entry in data(server, "trash")["entries"]}
    assert [entries[name]["has_thumbnail"] for name in ("a.jpg", "b.jpg", "c.txt")] == [True, True, False]
    answers = {
        name: ask(server, "GET", "trash-thumbnail", place="", entry=entry["entry"]) for name, entry in entries.items()
    }
    assert [answers[name].status for name in ("a.jpg", "b.jpg", "c.txt")] == [200, 422, 415]
    assert answers["a.jpg"].headers["content-type"] == "image/jpeg"
    assert max(pictures.opened(answers["a.jpg"].body).size) == 128
    assert not list((server.base / "thumbnails").rglob("*.jpg"))
    outside = ask(server, "GET", "trash-thumbnail", place="", entry="2026-11-24T10.31.07.123456789-deleted-x/../../key")
    assert outside.status == 404
    assert server.get("/status/trash-thumbnail").status == 403


#: A quarter of an hour that is over, in seconds since 1970.
BEGIN = 1_763_978_400


def put_in_trash(server: RunningServer, name: str, second: int) -> None:
    """Has a file in the trash that was deleted some seconds after BEGIN."""
    folder = server.originals / ".asset-server/trash"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{stamp((BEGIN + second) * 10**9)}-deleted-{name}").write_bytes(b"xx")


def test_restoring_requires_a_dedicated_token_and_post(server: RunningServer) -> None:
    server.upload("a.txt", b"a")
    server.delete("a.txt")
    [entry] = data(server, "trash")["entries"]
    address = target("restore", {"place": "", "entry": entry["entry"]})
    assert server.request("POST", address).status == 403
    assert with_token(server, token(server, f"GET {address}"), address, "POST").status == 403
    assert with_token(server, token(server, "POST /status/restore"), address, "POST").status == 403
    assert ask(server, "GET", "restore", place="", entry=entry["entry"]).status == 405
    preflight = server.request("OPTIONS", address, headers={"Origin": "https://evil.example"})
    assert preflight.status == 405, "a page of another origin may not send the header"
    assert not (server.originals / "a.txt").exists()


@pytest.mark.parametrize("entry", ["", "..", "../../key", "/etc/passwd", "2026-11-24T10.31.07.123456789-deleted-a"])
def test_only_trash_entries_can_be_restored(server: RunningServer, entry: str) -> None:
    answer = ask(server, "POST", "restore", place="", entry=entry)
    assert answer.status == 404
    assert ask(server, "POST", "restore", place="../x", entry=entry).status == 404


def test_data_is_uncacheable_json(server: RunningServer) -> None:
    server.upload("<img src=x onerror=alert(1)>.txt", b"x")
    answer = ask(server, "GET", "data/activity")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body)["events"][0]["name"] == "<img src=x onerror=alert(1)>.txt"
    assert str(server.base) not in answer.text


def test_the_data_contains_neither_paths_nor_the_key(server: RunningServer, tmp_path: Path) -> None:
    server.upload("a.txt", b"x")
    server.delete("a.txt")
    surveyed(server)
    for part in PARTS:
        answer = ask(server, "GET", f"data/{part}")
        assert str(tmp_path) not in answer.text
        assert KEY not in answer.text
