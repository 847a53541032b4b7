"""config.loading: settings.py and the environment, each value checked."""

import json
import runpy
import shutil
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from assetstore.config import announcement, loading, unknown_names
from assetstore.config.loading import SETTINGS, Settings, SettingsError
from assetstore.config.removed import REMOVED
from tests.support import PROJECT

#: What the sample server's settings look like after an administrator has edited them.
SAMPLE_SETTINGS = """
# Turns on bottle.py debugging, module reloading and printing some information to console.
DEBUG = True
KEY = 'test_attachment_key'
TIME_TOLERANCE = 150
REQUIRE_KEY_FOR_GET = False
ALLOW_STATIC_FILE_ACCESS = True
HOST = 'assets.museum.org'
PORT = 8088
SERVER_NAME = HOST
SERVER_PORT = PORT
DEVELOPMENT_PORT = PORT
COLLECTION_DIRS = {
    # 'COLLECTION_NAME': 'DIRECTORY_NAME',
    'KUFishvoucher': 'Ichthyology',
    'KU Herps': 'Herps/all/',
}
BASE_DIR = '/home/specify/attachments/'
THUMB_DIR = 'thumbnails'
ORIG_DIR = 'originals'
CAN_THUMBNAIL = {'image/jpeg', 'image/gif', 'image/png', 'image/tiff', 'application/pdf'}
SERVER = 'paste'
"""


def load(own: dict[str, Any] | None = None, **environ: str) -> Settings:
    return loading.load(own or {}, environ, Path("/program"), 4)


def test_settings_of_the_sample_server_work_unchanged(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text(SAMPLE_SETTINGS)
    own = runpy.run_path(str(tmp_path / "settings.py"))
    settings = load(own)
    assert settings.key == ("test_attachment_key",)
    assert (settings.server_name, settings.server_port, settings.port) == ("assets.museum.org", 8088, 8088)
    assert settings.collection_dirs == {"KUFishvoucher": "Ichthyology", "KU Herps": "Herps/all"}
    assert settings.base_dir == Path("/home/specify/attachments")
    assert "application/pdf" in settings.can_thumbnail
    assert settings.threads == 256, "what the sample server does not know has its default"
    assert announcement.warnings(settings, own, {}) == [
        "KEY IS A WELL-KNOWN EXAMPLE: anyone can upload and delete files. Choose your own key."
    ]


def test_the_shipped_settings_are_the_defaults() -> None:
    own = {name: value for name, value in runpy.run_path(str(PROJECT / "settings.py")).items() if name.isupper()}
    assert set(own) == set(SETTINGS)
    assert load(own) == load({})


def test_every_setting_can_be_set_in_the_environment() -> None:
    examples = {
        "DEBUG": ("true", True),
        "KEY": ("secret key", ("secret key",)),
        "TIME_TOLERANCE": ("None", None),
        "REQUIRE_KEY_FOR_GET": ("yes", True),
        "ALLOW_STATIC_FILE_ACCESS": ("0", False),
        "STATUS_PAGE": ("off", False),
        "VISIBILITY": ("Specify", "specify"),
        "VISIBILITY_SECONDS": ("30", 30),
        "LOCATION_SAFE": ("true", True),
        "VISIBILITY_FILE": ("/srv/visibility.csv", Path("/srv/visibility.csv")),
        "SPECIFY_DATABASE": ("mysql://reader@dbhost/specify", "mysql://reader@dbhost/specify"),
        "SPECIFY_DATABASE_PASSWORD_FILE": ("/run/secrets/password", Path("/run/secrets/password")),
        "HOST": ("museum.org", "museum.org"),
        "PORT": ("9000", 9000),
        "SERVER_NAME": ("2001:db8::1", "2001:db8::1"),
        "SERVER_PORT": ("443", 443),
        "DEVELOPMENT_PORT": ("9001", 9001),
        "BIND_ADDRESS": ("127.0.0.1", "127.0.0.1"),
        "PUBLIC_URL": ("https://museum.org/assets/", "https://museum.org/assets"),
        "COLLECTION_DIRS": ('{"KU Fish": "fish"}', {"KU Fish": "fish"}),
        "BASE_DIR": ("/srv/attachments", Path("/srv/attachments")),
        "THUMB_DIR": ("thumbs", "thumbs"),
        "ORIG_DIR": ("origs", "origs"),
        "STORAGE_URL": ("s3://museum-files/fish/2026/", "s3://museum-files/fish/2026"),
        "STORAGE_ENDPOINT": ("https://s3.museum.org/", "https://s3.museum.org"),
        "STORAGE_REGION": ("eu-central-2", "eu-central-2"),
        "STORAGE_CREDENTIALS": ('{"herps-files": "HERPS"}', {"herps-files": "HERPS"}),
        "STORAGE_REDIRECT_SECONDS": ("60", 60),
        "CAN_THUMBNAIL": ("image/png, image/jpeg", frozenset(("image/png", "image/jpeg"))),
        "MAX_UPLOAD_BYTES": ("1000000000000", 10**12),
        "RESERVED_BYTES": ("1000000000", 10**9),
        "TRASH_DAYS": ("0", 0),
        "TRASH_BYTES": ("5000000000", 5 * 10**9),
        "VERIFY_DAYS": ("90", 90),
        "ACCEL_REDIRECT": ("/protected-store/", "/protected-store"),
        "METRICS_ADDRESS": ("[::1]:9101", ("::1", 9101)),
        "LOG_FORMAT": ("JSON", "json"),
        "TRUSTED_PROXIES": ("127.0.0.1, 10.0.0.0/8", (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))),
        "SERVER": ("granian", "granian"),
        "PROCESSES": ("4", 4),
        "WORKER_MEMORY": ("512", 512),
        "TLS_CERTIFICATE": ("/etc/ssl/fullchain.pem", Path("/etc/ssl/fullchain.pem")),
        "TLS_KEY": ("/etc/ssl/privkey.pem", Path("/etc/ssl/privkey.pem")),
        "THREADS": ("7", 7),
        "RENDER_MEMORY": ("512", 512),
        "PREVIEW_SIZES": ("123, 200", frozenset((123, 200))),
        "PYRAMID_BYTES": ("1000000", 1_000_000),
        "VIEWER": ("False", False),
        "VIEWER_MEGAPIXELS": ("80", 80),
        "PYRAMID_UPLOAD_BYTES": ("20000000", 20_000_000),
    }
    assert set(examples) == set(SETTINGS)
    settings = load({"PORT": 1, "KEY": None}, **{name: text for name, (text, _) in examples.items()})
    for name, (_, value) in examples.items():
        assert getattr(settings, name.lower()) == value, name


@pytest.mark.parametrize("text", ["123,200", "[200, 123]", " 123  200 ", "123, 200,"])
def test_sizes_of_previews_may_be_written_in_several_ways(text: str) -> None:
    assert load(PREVIEW_SIZES=text).preview_sizes == {123, 200}
    assert load({"PREVIEW_SIZES": [123, 200, 123]}).preview_sizes == {123, 200}
    assert load(PREVIEW_SIZES="[]").preview_sizes == load(PREVIEW_SIZES="None").preview_sizes == frozenset()


def test_a_collection_may_have_its_own_bucket() -> None:
    folders = {"KU Fish": "fish", "KU Herps": "s3://herps-files/all/"}
    settings = load({"STORAGE_URL": "s3://museum-files", "COLLECTION_DIRS": folders})
    assert settings.collection_dirs == {"KU Fish": "fish", "KU Herps": "s3://herps-files/all"}
    with pytest.raises(SettingsError, match="COLLECTION_DIRS has 's3://herps-files/all', but STORAGE_URL is not set"):
        load({"COLLECTION_DIRS": folders})


def test_each_bucket_may_be_on_its_own_service() -> None:
    mapping = {"museum-files": "https://s3.museum.org", "herps-files": "http://10.0.0.7:9000"}
    assert load({"STORAGE_ENDPOINT": mapping}).storage_endpoint == mapping
    assert load(STORAGE_ENDPOINT=json.dumps(mapping)).storage_endpoint == mapping
    regions = {"museum-files": "eu-central-1", "herps-files": "us-west-2"}
    assert load({"STORAGE_REGION": regions}).storage_region == regions
    assert load(STORAGE_REGION=json.dumps(regions)).storage_region == regions


def test_the_bucket_name_may_be_part_of_the_host_name() -> None:
    assert load(STORAGE_ENDPOINT="https://{bucket}.s3.museum.org").storage_endpoint == "https://{bucket}.s3.museum.org"


def test_keys_in_bucket_addresses_are_rejected_and_never_shown() -> None:
    for name, value in (
        ("STORAGE_URL", "s3://AKIA:hidden@museum-files"),
        ("STORAGE_ENDPOINT", "https://a:hidden@s3.org"),
    ):
        with pytest.raises(SettingsError) as error:
            load({name: value})
        assert "hidden" not in str(error.value)


def test_a_password_in_the_address_of_the_database_is_rejected_and_never_shown() -> None:
    for value in ("mysql://reader:hidden@dbhost/specify", "mysql://reader:@dbhost/specify", "hidden", "mysql://a@b"):
        with pytest.raises(SettingsError, match="without a password") as error:
            load({"SPECIFY_DATABASE": value})
        assert "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"VISIBILITY": "specify"}, "SPECIFY_DATABASE is not set"),
        ({"VISIBILITY": "file"}, "VISIBILITY_FILE is not set"),
        ({"VISIBILITY": "file", "VISIBILITY_FILE": "a.csv", "KEY": None}, "every token would be valid"),
        ({"VISIBILITY": "public"}, "'specify' or 'file'"),
    ],
)
def test_visibility_requires_its_source_and_a_key(own: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({"KEY": "k", **own})


def test_the_trash_of_a_bucket_has_its_own_folder() -> None:
    with pytest.raises(SettingsError, match="where deleted files go"):
        load({"STORAGE_URL": "s3://museum-files", "ORIG_DIR": "trash"})


def test_the_environment_variables_of_the_container_work() -> None:
    settings = load(
        SERVER_NAME="assets.museum.org", SERVER_PORT="80", ATTACHMENT_KEY="container key", DEBUG_MODE="True", PORT=""
    )
    assert (settings.server_name, settings.server_port, settings.port) == ("assets.museum.org", 80, 8080)
    assert settings.key == ("container key",)
    assert settings.debug


def test_name_and_port_are_advertised_unless_overridden() -> None:
    settings = load({"HOST": "museum.org", "PORT": 8081})
    assert (settings.server_name, settings.server_port, settings.development_port) == ("museum.org", 8081, 8081)


def test_two_keys_are_valid_during_a_key_change() -> None:
    assert load(ATTACHMENT_KEY="new", ATTACHMENT_KEY_PREVIOUS="old").key == ("new", "old")
    assert load({"KEY": ["new", "old"]}).key == ("new", "old")
    with pytest.raises(SettingsError, match="no new key"):
        load(ATTACHMENT_KEY_PREVIOUS="old")


def test_a_missing_key_differs_from_key_none() -> None:
    assert load().key == ()
    assert load({"KEY": ""}).key == ()
    assert load({"KEY": None}).key is None
    assert "anyone" in announcement.warnings(load({"KEY": None}), {}, {})[0]


def test_collections_may_be_omitted_in_every_form() -> None:
    assert load().collection_dirs is None
    assert load({"COLLECTION_DIRS": {}}).collection_dirs is None
    assert load(COLLECTION_DIRS="").collection_dirs is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("KEY", 7),
        ("KEY", []),
        ("KEY", ["a", ""]),
        ("TIME_TOLERANCE", 0),
        ("TIME_TOLERANCE", "soon"),
        ("TIME_TOLERANCE", True),
        ("PORT", "http"),
        ("PORT", 65536),
        ("PORT", "٨٠٨٠"),
        ("PORT", 80.5),
        ("SERVER_NAME", "http://museum.org"),
        ("SERVER_NAME", "museum.org:80"),
        ("SERVER_NAME", "two words"),
        ("PUBLIC_URL", "museum.org"),
        ("PUBLIC_URL", "ftp://museum.org"),
        ("PUBLIC_URL", "https://museum.org/?x"),
        ("PUBLIC_URL", "https://museum.org:99999"),
        ("PUBLIC_URL", 'https://museum.org/"<x>'),
        ("COLLECTION_DIRS", "KU Fish"),
        ("COLLECTION_DIRS", ["fish"]),
        ("COLLECTION_DIRS", {"KU Fish": "../fish"}),
        ("COLLECTION_DIRS", {"KU Fish": "/fish"}),
        ("COLLECTION_DIRS", {"KU Fish": ".asset-server"}),
        ("COLLECTION_DIRS", {"KU Fish": None}),
        ("STORAGE_URL", "museum-files"),
        ("STORAGE_URL", "https://museum-files.s3.amazonaws.com"),
        ("STORAGE_URL", "s3://Museum_Files"),
        ("STORAGE_URL", "s3://museum-files/../other"),
        ("STORAGE_URL", "s3://museum-files//x"),
        ("STORAGE_ENDPOINT", "s3.museum.org"),
        ("STORAGE_ENDPOINT", "https://s3.museum.org/bucket"),
        ("STORAGE_ENDPOINT", {"museum-files": "nowhere"}),
        ("STORAGE_ENDPOINT", "https://{name}.s3.museum.org"),
        ("STORAGE_ENDPOINT", "https://s3.{bucket}.museum.org"),
        ("STORAGE_ENDPOINT", "https://{bucket}."),
        ("STORAGE_REGION", {"museum-files": 1}),
        ("STORAGE_CREDENTIALS", "HERPS"),
        ("STORAGE_CREDENTIALS", {"herps-files": "herps key"}),
        ("STORAGE_REDIRECT_SECONDS", 0),
        ("BASE_DIR", ""),
        ("ORIG_DIR", "a/b"),
        ("THUMB_DIR", ".."),
        ("CAN_THUMBNAIL", {"jpeg"}),
        ("CAN_THUMBNAIL", 5),
        ("SERVER", ""),
        ("PROCESSES", 0),
        ("THREADS", 0),
        ("RENDER_MEMORY", -1),
        ("PREVIEW_SIZES", 200),
        ("PREVIEW_SIZES", [0]),
        ("PREVIEW_SIZES", [4001]),
        ("PREVIEW_SIZES", ["large"]),
        ("PREVIEW_SIZES", "[[1]"),
        ("PREVIEW_SIZES", list(range(1, 10))),
        ("PREVIEW_SIZES", {"1": 2, "x": 3}),
    ],
)
def test_an_invalid_value_stops_the_start_with_name_value_and_expectation(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as error:
        load({name: value})
    message = str(error.value)
    assert message.startswith(f"{name} in settings.py is ")
    assert "expected" in message
    if name != "KEY":
        assert repr(value) in message
    assert "\n" not in message


def test_an_invalid_environment_variable_is_reported_as_such() -> None:
    with pytest.raises(SettingsError, match="The environment variable DEBUG_MODE is 'perhaps'; expected True or False"):
        load(DEBUG_MODE="perhaps")


def test_contradictory_environment_variables_are_rejected() -> None:
    with pytest.raises(SettingsError, match="contradict"):
        load(KEY="one", ATTACHMENT_KEY="another")


def test_originals_and_thumbnails_require_different_folders() -> None:
    with pytest.raises(SettingsError, match="different"):
        load({"ORIG_DIR": "thumbnails"})


def test_location_safe_copies_require_that_visibility_is_set() -> None:
    with pytest.raises(SettingsError, match="LOCATION_SAFE is True, but VISIBILITY is None"):
        load({"LOCATION_SAFE": True})
    assert load({"LOCATION_SAFE": True, "VISIBILITY": "file", "VISIBILITY_FILE": "public.csv"}).location_safe


def test_only_granian_can_have_several_processes() -> None:
    with pytest.raises(SettingsError, match="PROCESSES is 2 and SERVER 'wsgiref'; expected SERVER = 'granian'"):
        load({"PROCESSES": 2, "SERVER": "wsgiref!"})


def test_the_settings_are_shown_with_masked_secrets() -> None:
    lines = announcement.describe(load({"KEY": ["first secret", "second secret"]}))
    assert "KEY = ['*****', '*****']" in lines
    assert not any("secret" in line for line in lines)
    *settings, limits = lines
    assert [line.partition(" = ")[0] for line in settings] == list(SETTINGS)
    assert limits.startswith("Limits of each process: render_workers = 4, render_seconds = 60, ")


def test_the_page_to_open_is_https_if_the_server_has_a_certificate() -> None:
    own = {"SERVER": "granian", "PORT": 8443, "TLS_CERTIFICATE": "/c.pem", "TLS_KEY": "/k.pem"}
    assert announcement.summary(load(own))[0] == "Page to open: https://localhost:8443/"
    assert announcement.summary(load({"PORT": 8080}))[0] == "Page to open: http://localhost:8080/"


def test_risky_and_misspelt_settings_are_warned_about() -> None:
    own = {"REQUIRE_KEY_FOR_GETS": True, "KEY": "a key of the museum", "CAN_THUMBNAIL": {"image/x-fits"}, "lower": 1}
    found = announcement.warnings(load({**own, "REQUIRE_KEY_FOR_GET": True}), own, {})
    assert [warning.split()[0] for warning in found] == ["REQUIRE_KEY_FOR_GET", "CAN_THUMBNAIL", "settings.py"]
    assert "REQUIRE_KEY_FOR_GETS" in found[2]
    assert "lower" not in found[2]


def test_settings_without_effect_on_the_chosen_storage_are_warned_about() -> None:
    bucket = {"STORAGE_URL": "s3://bucket", "KEY": "a key of the museum"}
    assert announcement.warnings(load({"STORAGE_REDIRECT_SECONDS": 60}), {}, {}) == [
        "STORAGE_REDIRECT_SECONDS has no effect without STORAGE_URL."
    ]
    assert announcement.warnings(load({**bucket, "ACCEL_REDIRECT": "/protected"}), {}, {}) == [
        "ACCEL_REDIRECT has no effect with STORAGE_URL: nginx cannot read the bucket."
    ]
    assert announcement.warnings(load({**bucket, "STORAGE_REDIRECT_SECONDS": 60}), {}, {}) == []


@pytest.mark.parametrize("source", ["settings.py", "environment", "environment with our prefix"])
@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_setting_is_reported_with_the_current_behaviour(name: str, source: str) -> None:
    given = {f"ASSETSTORE_{name}" if source.endswith("prefix") else name: "any value"}
    own, environ = (given, {}) if source == "settings.py" else ({}, given)
    assert load(own, **environ) == load()
    assert announcement.warnings(load(own), own, environ) == [f"The setting {name} was removed: {REMOVED[name]}."]


@pytest.mark.parametrize(
    ("addressing", "endpoint", "effective"),
    [
        ("virtual", "https://s3.museum.org", "https://{bucket}.s3.museum.org"),
        ("virtual", {"fish": "http://s3:8333"}, {"fish": "http://{bucket}.s3:8333"}),
        ("virtual", "https://{bucket}.s3.museum.org", "https://{bucket}.s3.museum.org"),
        ("virtual", None, None),
        ("path", "https://s3.museum.org", "https://s3.museum.org"),
        ("path", None, "https://s3.eu-north-1.amazonaws.com"),
    ],
)
def test_the_removed_setting_for_bucket_addressing_still_works(
    addressing: str, endpoint: object, effective: object
) -> None:
    own = {"STORAGE_ADDRESSING": addressing, "STORAGE_ENDPOINT": endpoint, "STORAGE_REGION": "eu-north-1"}
    assert load({**own, "STORAGE_URL": "s3://fish"}).storage_endpoint == effective
    elsewhere = {**own, "STORAGE_URL": "s3://fish", "STORAGE_ADDRESSING": None}
    assert load(elsewhere, ASSETSTORE_STORAGE_ADDRESSING=addressing).storage_endpoint == effective


def test_no_setting_is_both_removed_and_current() -> None:
    assert not set(REMOVED) & set(SETTINGS)


def test_one_percent_of_the_disk_but_at_most_5_gb_is_reserved_for_deletes(tmp_path: Path) -> None:
    total = shutil.disk_usage(tmp_path).total
    assert load({"BASE_DIR": str(tmp_path / "not made yet")}).reserved_bytes == min(5 * 10**9, total // 100)
    assert load({"RESERVED_BYTES": 0}).reserved_bytes == 0


def test_prefixed_environment_variables_take_precedence() -> None:
    given = {"PORT": "1", "ASSETSTORE_PORT": "2", "ATTACHMENT_KEY": "old", "KEY": "other", "ASSETSTORE_KEY": "new"}
    settings = load({"PORT": 3}, **given)
    assert (settings.port, settings.key) == (2, ("new",))


@pytest.mark.parametrize(
    ("name", "value"), [("SERVER_PORT", "tcp://10.0.0.7:80"), ("PORT", "tcp://10.0.0.7:80"), ("DEBUG", "release")]
)
def test_environment_variables_of_other_programs_are_ignored_with_a_warning(name: str, value: str) -> None:
    settings = load({}, **{name: value})
    assert (settings.port, settings.server_port, settings.debug) == (8080, 8080, False)
    [warning] = announcement.warnings(settings, {}, {name: value})
    assert f"use ASSETSTORE_{name}" in warning
    assert announcement.warnings(settings, {}, {name: value, f"ASSETSTORE_{name}": "1"}) == []


def test_an_invalid_prefixed_variable_stops_the_start_and_is_named() -> None:
    with pytest.raises(SettingsError, match="ASSETSTORE_PORT is 'tcp:"):
        load({}, ASSETSTORE_PORT="tcp://10.0.0.7:80")


@pytest.mark.parametrize("page", ["web_asset_store.xml", "web_asset_store.xml/", "/fileget", "fileupload", "TestKey"])
@pytest.mark.parametrize("base", ["https://assets.museum.org", "https://museum.org/assets"])
def test_the_address_of_a_page_as_public_url_gives_the_server_s_with_a_warning(base: str, page: str) -> None:
    for own, environ in (({"PUBLIC_URL": f"{base}/{page}"}, {}), ({}, {"PUBLIC_URL": f" {base}/{page}"})):
        settings = load(own, **environ)
        assert settings.public_url == base
        [warning] = announcement.warnings(settings, own, environ)
        assert f"The address of the server is used: {base}." in warning
    assert announcement.warnings(load(), {}, {}) == []
    assert announcement.warnings(load({"PUBLIC_URL": f"{base}/"}), {"PUBLIC_URL": f"{base}/"}, {}) == []


def test_folders_one_level_too_deep_are_named() -> None:
    collections = {"KU Fish": "fish/originals", "KU Herps": "herps", "Thumbnails": "thumbnails"}
    own = {"BASE_DIR": "/srv/attachments/originals/", "COLLECTION_DIRS": collections}
    found = announcement.warnings(load(own), own, {})
    assert [warning.split(",")[0] for warning in found] == [
        "BASE_DIR has '/srv/attachments/originals'",
        "COLLECTION_DIRS has 'fish/originals'",
    ]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("short", "it has 5 characters"),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "it has 24 characters"),
        ("a key of the museum\r", "line break"),
        ("a key of the museum ", "a blank"),
        ("\u00a0a key of the museum", "a blank"),
        ('"a key of the museum"', "a quotation mark"),
        ("a key of the museum”", "a quotation mark"),
        ("'test_attachment_key'", "WELL-KNOWN EXAMPLE"),
    ],
)
def test_a_key_that_is_weak_or_was_copied_badly_is_named_at_the_start(key: str, reason: str) -> None:
    for given in (key, ["another key of the museum", key]):
        [warning] = announcement.warnings(load({"KEY": given}), {}, {})
        assert warning.startswith("KEY")
        assert reason in warning
        assert "museum" not in warning, "the key is never shown"


@pytest.mark.parametrize("name", ["originals\r", " originals", '"originals"', "orig\tinals"])
def test_a_folder_name_that_was_copied_badly_is_refused(name: str) -> None:
    for setting in ("ORIG_DIR", "THUMB_DIR"):
        with pytest.raises(SettingsError, match="expected the name of a folder"):
            load(**{setting: name})


def test_a_collection_name_with_blanks_at_its_ends_is_named() -> None:
    own = {"COLLECTION_DIRS": {"KU Fish ": "fish", "KU Herps": "herps"}}
    [warning] = announcement.warnings(load(own), own, {})
    assert "'KU Fish '" in warning


def test_wsgiref_of_a_sample_s_file_is_replaced_unless_it_is_asked_for() -> None:
    own = {"SERVER": "wsgiref", "PORT": 8088, "DEVELOPMENT_PORT": 8088}
    assert load(own).server == "paste"
    [warning] = announcement.warnings(load(own), own, {})
    assert "one request at a time" in warning
    assert "Paste is used instead" in warning
    for settings in (load({"SERVER": "wsgiref!"}), load(SERVER="wsgiref"), load(own, ASSETSTORE_SERVER="wsgiref!")):
        assert settings.server == "wsgiref"
        assert any("development only" in sentence for sentence in announcement.warnings(settings, {}, {}))
    assert load(own, SERVER="granian").server == "granian"


def test_the_environment_s_port_wins_over_a_sample_s_port_for_development() -> None:
    own = {"SERVER": "wsgiref!", "PORT": 8088, "DEVELOPMENT_PORT": 8088}
    assert load(own).development_port == 8088
    assert load(own, PORT="9000").development_port == 9000
    assert load(own, PORT="9000", DEVELOPMENT_PORT="9001").development_port == 9001
    assert load({**own, "DEVELOPMENT_PORT": 8089}, PORT="9000").development_port == 8089


@pytest.mark.parametrize(
    ("own", "meant"),
    [
        ({"port": 80}, "port (did you mean PORT?)"),
        ({"Base_Dir": "/srv"}, "Base_Dir (did you mean BASE_DIR?)"),
        ({"KEYS": "x"}, "KEYS (did you mean KEY?)"),
        ({"COLECTION_DIRS": {}}, "COLECTION_DIRS (did you mean COLLECTION_DIRS?)"),
        ({"REQUIRE_KEY_FOR_GETS": True}, "REQUIRE_KEY_FOR_GETS (did you mean REQUIRE_KEY_FOR_GET?)"),
        ({"WHATEVER_IT_IS": 1}, "WHATEVER_IT_IS"),
    ],
)
def test_misspelt_names_are_shown_with_what_was_probably_meant(own: dict[str, Any], meant: str) -> None:
    sentence = f"settings.py has unknown names, which have no effect: {meant}."
    assert announcement.warnings(load(own), own, {}) == [sentence]


def test_an_administrator_s_own_variables_are_not_mistaken_for_settings() -> None:
    own = {"museum": "KU", "os": json, "report": print, "_PORT": 1, "__name__": "settings", "folders": ["fish"]}
    assert announcement.warnings(load(own), own, {}) == []


def test_misspelt_variables_with_our_prefix_are_named() -> None:
    environ = {"ASSETSTORE_PROT": "80", "ASSETSTORE_SETTINGS": "/x", "OTHER_PROT": "1"}
    assert announcement.warnings(load(), {}, environ) == [
        "The environment variable ASSETSTORE_PROT has no effect (did you mean PORT?)."
    ]


def test_settings_for_buckets_of_other_servers_are_named_with_what_to_write_instead() -> None:
    own = {
        "COLLECTION_S3_PATHS": {"KU Fish": "museum/fish"},
        "S3_ENDPOINTS": {"museum": "https://s3.museum.org"},
        "S3_ADDRESSING_STYLE": "virtual",
        "DEFAULT_S3_ENDPOINT": "https://s3.museum.org",
    }
    with pytest.raises(SettingsError, match="COLLECTION_S3_PATHS is set, which this server does not use"):
        unknown_names.check_buckets(own, {})
    both = {**own, "STORAGE_URL": "s3://museum", "KEY": "a key of the museum"}
    unknown_names.check_buckets(both, {})
    unknown_names.check_buckets({"COLLECTION_S3_PATHS": {}}, {})
    found = announcement.warnings(load(both), both, {})
    assert {sentence.split()[0] for sentence in found} == set(own)
    assert all("Instead, write STORAGE_" in sentence for sentence in found)
