"""The routes below /status over HTTP: who gets the data, and that it is true."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assetstore.auth import status_tokens, tokens
from assetstore.routes import status
from tests import pictures
from tests.status_client import ask, data, target, token
from tests.support import KEY, PROJECT, Client, Response, RunningServer, is_of_this_run

Start = Callable[..., RunningServer]

PARTS = ("overview", "storage", "activity", "originals", "trash", "visibility")


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
    for path in ("/status", "/status/view/main.js", "/status/data/overview", "/status/restore"):
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
    assert told["checks"]["store"] == {"status": "ok", "reason": "The store can be written."}
    assert set(told["versions"]) == {"Web Asset Server", "Python", "ImageMagick", "Ghostscript"}
    assert all(version and version[0].isdigit() for version in told["versions"].values())
    assert told["rendering"] == {"busy": 0, "most": 3, "waiting": 0, "most_waiting": 20, "in_background": 0}
    assert (told["most_upload_bytes"], told["trash_days"]) == (5000, 7)
    assert told["collections"] == [{"place": "", "name": ""}]
    plan = {"days": 0, "command": "python manage.py verify"}
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
    run = Verification(
        server.context.originals, RateLimit(None, threading.Event()), adopt=False, accept=False, client="test"
    )
    list(run.run(False))
    told = data(server, "overview")["verification"]
    assert told["last"]["summary"]["findings"] == {"changed": 1}
    assert [(found["name"], found["finding"]) for found in told["findings"]] == [("bad.txt", "changed")]


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


def names(client: Client, **parameters: str) -> list[str]:
    return [original["name"] for original in data(client, "originals", **parameters)["originals"]]


def test_files_are_found_by_part_of_their_name_even_if_copied_in_by_hand(server: RunningServer) -> None:
    server.upload("Fish-1.jpg", pictures.jpeg())
    server.upload("fish-2.txt", b"two")
    (server.originals / "FISH by hand.txt").write_bytes(b"three")
    assert set(names(server, search="fish")) == {"Fish-1.jpg", "fish-2.txt", "FISH by hand.txt"}
    assert names(server, search="fish-2.txt") == ["fish-2.txt"]
    assert names(server, name="fish-2") == []
    assert names(server, name="fish-2.txt") == ["fish-2.txt"]
    assert names(server, search="../") == []
    found = data(server, "originals", search="Fish-1")["originals"][0]
    assert (found["type"], found["has_thumbnail"], found["size"]) == ("image/jpeg", True, len(pictures.jpeg()))


def test_database_wildcards_are_literal_in_a_search(server: RunningServer) -> None:
    for name in ("100%.txt", "100 a.txt", "x_y.txt", "x-y.txt", "it's.txt"):
        server.upload(name, b"x")
    assert names(server, search="100%") == ["100%.txt"]
    assert names(server, search="X_Y") == ["x_y.txt"]
    assert names(server, search="'") == ["it's.txt"]
    assert names(server, search="\\") == []
    assert names(server, search="*") == []


def test_a_search_works_without_the_journal(server: RunningServer) -> None:
    server.upload("fish.txt", b"x")
    server.delete("fish.txt")
    server.upload("other fish.txt", b"x")
    assert names(server, search="fish") == ["other fish.txt"], "the journal knows both"
    journal = server.base / ".asset-server/journal"
    server.context.originals.journal.close()
    shutil.rmtree(journal)
    journal.write_bytes(b"no folder")
    assert names(server, search="fish") == ["other fish.txt"]
    assert data(server, "overview")["verification"]["fault"] == "The journal cannot be used."
    assert surveyed(server)["files"] == 1


def test_exact_matches_come_first(server: RunningServer) -> None:
    for name in ("a.txt.1", "a.txt", "a.txt.2"):
        server.upload(name, b"x")
    assert names(server, search="a.txt")[0] == "a.txt"


def test_without_a_search_the_latest_existing_uploads_are_shown(server: RunningServer) -> None:
    for name in ("a", "b", "c"):
        server.upload(name, b"x")
    server.upload("a", b"again")
    server.delete("b")
    assert names(server) == ["a", "c"]


def test_a_long_result_is_truncated_and_marked(server: RunningServer) -> None:
    for number in range(70):
        (server.originals / f"{number}.txt").write_bytes(b"x")
    told = data(server, "originals", search=".txt")
    assert (len(told["originals"]), told["is_all"]) == (60, False)
    told = data(server, "originals", search="69")
    assert (len(told["originals"]), told["is_all"]) == (1, True)


def test_a_search_can_be_limited_to_one_collection(start: Start) -> None:
    server = start(COLLECTION_DIRS={"KU Fish": "fish", "KU Herps": "herps"})
    server.upload("a", b"1", coll="KU Fish")
    server.upload("a", b"22", coll="KU Herps")
    assert [found["place"] for found in data(server, "originals", search="a")["originals"]] == ["fish", "herps"]
    assert [found["size"] for found in data(server, "originals", search="a", place="herps")["originals"]] == [2]
    assert data(server, "originals", search="a", place="../..")["originals"] == []


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
    answer = ask(server, "GET", "data/originals")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body)["originals"][0]["name"] == "<img src=x onerror=alert(1)>.txt"
    assert str(server.base) not in answer.text


def test_the_data_contains_neither_paths_nor_the_key(server: RunningServer, tmp_path: Path) -> None:
    server.upload("a.txt", b"x")
    server.delete("a.txt")
    surveyed(server)
    for part in PARTS:
        answer = ask(server, "GET", f"data/{part}")
        assert str(tmp_path) not in answer.text
        assert KEY not in answer.text
