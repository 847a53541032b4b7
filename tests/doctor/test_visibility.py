"""doctor about VISIBILITY: the database, the rights of its account, the state, and proxies that show private files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assetstore.client.asset_client import RemoteServer
from assetstore.client.http_client import Address
from assetstore.doctor import visibility
from assetstore.doctor.client_simulation import SimulatedClient
from assetstore.doctor.findings import Finding
from assetstore.monitoring.health import OK
from tests import mariadb, nginx
from tests.doctor.test_doctor import resolve_museum
from tests.mariadb import Database
from tests.nginx import throwaway_certificate  # noqa: F401 - a fixture
from tests.support import load_settings
from tests.visibility import sites
from tests.visibility.sites import Site

ENVIRON = {"SPECIFY_DATABASE_PASSWORD": mariadb.PASSWORD}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with mariadb.running(tmp_path_factory.mktemp("mariadb")) as running:
        yield running


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    others = {"PUBLIC_URL": f"https://{nginx.HOST}", "TRUSTED_PROXIES": ["127.0.0.1"], "VISIBILITY_SECONDS": 2}
    with sites.running("paste", tmp_path_factory.mktemp("site"), request, **others) as running:
        yield running


def alarms(findings: list[Finding]) -> list[tuple[str, str]]:
    assert mariadb.PASSWORD not in str(findings)
    assert all(finding.meaning and finding.remedy for finding in findings if finding.status != OK)
    return [(finding.status, finding.check) for finding in findings if finding.status != OK]


def test_the_database_and_the_rights_of_its_account(database: Database, tmp_path: Path) -> None:
    address = f"mysql://{mariadb.READER}@127.0.0.1:{database.port}/specify"
    own = {"KEY": "k", "BASE_DIR": str(tmp_path), "VISIBILITY": "specify", "SPECIFY_DATABASE": address}
    settings = load_settings(own)
    never_read = ("warning", "visibility")
    assert alarms(list(visibility.examine(settings, ENVIRON, tmp_path))) == [never_read]
    database.run(f"GRANT UPDATE (IsPublic), SELECT ON specify.attachment TO {mariadb.READER}")
    found = list(visibility.examine(settings, ENVIRON, tmp_path))
    assert alarms(found) == [("warning", "database rights"), never_read]
    assert "UPDATE" in next(finding.found for finding in found if finding.check == "database rights")
    database.run(f"REVOKE UPDATE (IsPublic) ON specify.attachment FROM {mariadb.READER}")
    database.run(f"REVOKE SELECT ON specify.collectionobject FROM {mariadb.READER}")
    assert alarms(list(visibility.examine(settings, ENVIRON, tmp_path))) == [("error", "visibility"), never_read]
    database.run(f"GRANT SELECT ON specify.collectionobject TO {mariadb.READER}")
    wrong = {"SPECIFY_DATABASE_PASSWORD": "wrong"}
    assert alarms(list(visibility.examine(settings, wrong, tmp_path))) == [("error", "visibility"), never_read]


def test_a_table_that_cannot_be_read_and_an_old_state_are_reported(site: Site, tmp_path: Path) -> None:
    own = {"KEY": "k", "BASE_DIR": str(site.server.base), "VISIBILITY": "file", "VISIBILITY_FILE": str(site.table)}  # type: ignore[attr-defined]  # both kinds of servers have it
    sites.until(lambda: alarms(list(visibility.examine(load_settings(own), {}, tmp_path))) == [])
    missing = {**own, "VISIBILITY_FILE": str(tmp_path / "nosuch.csv")}
    assert alarms(list(visibility.examine(load_settings(missing), {}, tmp_path))) == [("error", "visibility")]


def test_a_fast_path_in_the_configuration_of_nginx_is_an_error(site: Site, tmp_path: Path) -> None:
    own = {"KEY": "k", "BASE_DIR": str(tmp_path), "VISIBILITY": "file", "VISIBILITY_FILE": str(site.table)}
    (tmp_path / "sites").mkdir()
    for changes, is_on in (({}, False), (nginx.FAST, True)):
        text = nginx.edited(changes, nginx.ADVANCED)
        (tmp_path / "sites/asset-server.conf").write_text(text, encoding="utf-8")
        found = alarms(list(visibility.examine(load_settings(own), {}, tmp_path)))
        assert (("error", "fast path") in found) is is_on


@pytest.mark.parametrize("is_fast", [False, True])
def test_a_fast_path_that_serves_private_thumbnails_is_an_error(
    site: Site, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch, is_fast: bool
) -> None:
    resolve_museum(monkeypatch)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "fullchain.pem"))
    changes = nginx.FAST if is_fast else {}
    settings = load_settings({"KEY": "k", "BASE_DIR": str(site.server.base), "VISIBILITY": "file",  # type: ignore[attr-defined]  # as above
                              "VISIBILITY_FILE": str(site.table)})  # fmt: skip
    with sites.front(site.server, tmp_path / "nginx", certificate, nginx.ADVANCED, changes) as front:  # type: ignore[arg-type]  # as above
        address = Address.parse(f"https://{nginx.HOST}:{front.port}")
        with SimulatedClient(RemoteServer(address, site.server.key, None, timeout=30)) as client:
            found = list(visibility.through_proxies(client, settings))
    if is_fast:
        assert alarms(found) == [("error", "private files")]
        assert "thumbnail (200)" in found[0].found
    else:
        assert alarms(found) == []
        assert [finding.check for finding in found] == ["private files", "links"]
