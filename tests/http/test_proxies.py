"""http.proxies: which proxies are trusted, and with which headers."""

import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assetstore.http.proxies import RECEIVING_SECONDS, Proxies

PROXY, SECOND_PROXY, STRANGER = "10.0.0.1", "10.0.0.2", "198.51.100.7"
SEEN_AT = 1_795_000_000.0


def proxies(*networks: str) -> Proxies:
    return Proxies([ipaddress.ip_network(network) for network in networks])


def client(connection: str | None, forwarded: str | None, *networks: str) -> str:
    environ = {"REMOTE_ADDR": connection, "HTTP_X_FORWARDED_FOR": forwarded}
    return proxies(*networks).client({key: value for key, value in environ.items() if value is not None})


def received_at(connection: str, said: str | None, *networks: str) -> float:
    environ = {"REMOTE_ADDR": connection} if said is None else {"REMOTE_ADDR": connection, RECEIVING_SECONDS: said}
    return proxies(*networks).received_at(environ, SEEN_AT)


# Who the client is.


def test_without_trusted_proxies_the_client_is_the_peer_address() -> None:
    assert client(STRANGER, None) == STRANGER
    assert client(PROXY, "192.0.2.1") == PROXY


def test_forwarding_headers_from_untrusted_peers_are_ignored() -> None:
    assert client(STRANGER, "127.0.0.1", "10.0.0.0/8") == STRANGER
    assert client("11.0.0.1", "192.0.2.1", "10.0.0.0/8") == "11.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        (None, PROXY),
        ("", PROXY),
        ("192.0.2.1", "192.0.2.1"),
        ("  192.0.2.1\t", "192.0.2.1"),
        (f"192.0.2.1, {SECOND_PROXY}", "192.0.2.1"),
        (f"192.0.2.1,{SECOND_PROXY},{PROXY}", "192.0.2.1"),
        (f"{SECOND_PROXY}, {PROXY}", SECOND_PROXY),
    ],
)
def test_each_trusted_proxy_in_the_chain_is_followed(forwarded: str | None, address: str) -> None:
    assert client(PROXY, forwarded, "10.0.0.0/8") == address


@pytest.mark.parametrize(
    "forwarded",
    [
        "127.0.0.1, 192.0.2.1",
        f"{PROXY}, 192.0.2.1",
        f"10.0.0.9, 192.0.2.1, {SECOND_PROXY}",
        f"<script>, 192.0.2.1, {SECOND_PROXY}",
        ",,,192.0.2.1",
        "unknown, 203.0.113.5, 192.0.2.1",
    ],
)
def test_entries_before_the_nearest_untrusted_address_are_ignored(forwarded: str) -> None:
    assert client(PROXY, forwarded, "10.0.0.0/8") == "192.0.2.1"


@pytest.mark.parametrize(
    "garbage",
    ["unknown", "_hidden", "", " ", "-", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "192.0.2.1:8080", "[::1]",
     "[2001:db8::1]:443", "192.0.2.0/24", "١.٢.٣.٤", "192.0.2.1;192.0.2.2", "12345", "\x00", "evil\nline",
     "fe80::1%\x1b[31m 200 OK"],
)  # fmt: skip
def test_an_invalid_entry_makes_the_nearest_proxy_the_client(garbage: str) -> None:
    assert client(PROXY, garbage, "10.0.0.0/8") == PROXY
    assert client(PROXY, f"192.0.2.1, {garbage}, {SECOND_PROXY}", "10.0.0.0/8") == SECOND_PROXY


@pytest.mark.parametrize(
    ("connection", "forwarded", "networks", "address"),
    [
        ("2001:db8::1", "192.0.2.1", ["2001:db8::/32"], "192.0.2.1"),
        ("2001:DB8:0:0::1", "192.0.2.1", ["2001:db8::1/128"], "192.0.2.1"),
        ("2001:db9::1", "192.0.2.1", ["2001:db8::/32"], "2001:db9::1"),
        (PROXY, "2001:db8::7", ["10.0.0.0/8"], "2001:db8::7"),
        ("::1", "2001:db8::7, 127.0.0.1", ["::1/128", "127.0.0.0/8"], "2001:db8::7"),
        ("::1", "192.0.2.1", ["127.0.0.0/8"], "::1"),
        ("fe80::1%eth0", "192.0.2.1", ["10.0.0.0/8"], "fe80::1%eth0"),
    ],
)
def test_addresses_may_be_ipv4_or_ipv6(connection: str, forwarded: str, networks: list[str], address: str) -> None:
    assert client(connection, forwarded, *networks) == address


@pytest.mark.parametrize(
    ("connection", "forwarded", "address"),
    [
        ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("::FFFF:0a00:0001", "192.0.2.1", "192.0.2.1"),
        (PROXY, "192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
        ("::ffff:11.0.0.1", "192.0.2.1", "::ffff:11.0.0.1"),
        ("::10.0.0.1", "192.0.2.1", "::10.0.0.1"),
    ],
)
def test_ipv4_mapped_addresses_match_ipv4_proxies(connection: str, forwarded: str, address: str) -> None:
    assert client(connection, forwarded, "10.0.0.0/8") == address


@pytest.mark.parametrize("connection", [None, "", "/run/server.sock", "localhost"])
def test_a_connection_without_an_address_is_never_trusted(connection: str | None) -> None:
    assert client(connection, "192.0.2.1", "0.0.0.0/0", "::/0") == (connection or "-")


def test_if_all_addresses_are_trusted_the_first_in_the_chain_is_the_client() -> None:
    assert client(STRANGER, "192.0.2.1, 203.0.113.5", "0.0.0.0/0", "::/0") == "192.0.2.1"


# How long a proxy has been receiving.


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("0", 0), ("0.000", 0), ("12", 12), ("12.345", 12.345), ("007", 7), ("999999.999999", 999_999.999999)],
)
def test_a_trusted_proxy_reports_how_long_it_received_the_request(said: str, seconds: float) -> None:
    assert received_at(PROXY, said, "10.0.0.0/8") == SEEN_AT - seconds
    assert received_at("::ffff:10.0.0.1", said, "10.0.0.0/8") == SEEN_AT - seconds


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"], ["::/0"]])
def test_the_receiving_time_from_untrusted_peers_is_ignored(networks: list[str]) -> None:
    assert received_at(STRANGER, "3600", *networks) == SEEN_AT


@pytest.mark.parametrize(
    "said",
    [None, "", " ", "-1", "+1", "1e3", "inf", "nan", ".5", "5.", "1,5", "1 ", " 1", "1\n", "1, 2", "0x10", "1_0", "٣",
     "1000000", "1.0000000", "1.2.3", "12s", "\x00"],
)  # fmt: skip
def test_an_invalid_receiving_time_is_ignored(said: str | None) -> None:
    assert received_at(PROXY, said, "10.0.0.0/8") == SEEN_AT


# The scheme.


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        (" HTTPS ", "https"),
        ("http", "http"),
        ("https, http", "https"),
        ("http,https", "http"),
        ("ftp", "gopher"),
        ("", "gopher"),
        (None, "gopher"),
    ],
)
def test_the_scheme_is_that_by_which_the_client_reached_the_first_proxy(said: str | None, scheme: str) -> None:
    sent = {} if said is None else {"HTTP_X_FORWARDED_PROTO": said}
    environ = {**sent, "wsgi.url_scheme": "gopher"}
    assert proxies("10.0.0.0/8").scheme({**environ, "REMOTE_ADDR": PROXY}) == scheme
    assert proxies("10.0.0.0/8").scheme({**environ, "REMOTE_ADDR": STRANGER}) == "gopher"


# Whatever comes.

LIKELY = st.sampled_from([PROXY, SECOND_PROXY, STRANGER, "::1", "::ffff:10.0.0.1", "unknown", "", ","])
HEADERS = st.text(max_size=60) | st.lists(LIKELY | st.text(max_size=5), max_size=6).map(", ".join)
NETWORKS = st.lists(st.sampled_from(["10.0.0.0/8", "::1/128", "0.0.0.0/0", "::/0", "192.0.2.0/24"]), max_size=3)


@given(connection=LIKELY | st.text(max_size=30) | st.ip_addresses().map(str), forwarded=HEADERS, networks=NETWORKS)
@example(connection="\ud800", forwarded="\udcff", networks=["0.0.0.0/0"])
def test_the_client_is_the_peer_or_an_address_from_the_header(
    connection: str, forwarded: str, networks: list[str]
) -> None:
    address = client(connection, forwarded, *networks)
    stands_there = [part.strip() for part in forwarded.split(",")]
    assert address in (connection or "-", *stands_there)
    if address != (connection or "-"):
        ipaddress.ip_address(address)
        assert proxies(*networks).trusts(connection)


@given(before=HEADERS, networks=st.just(["10.0.0.0/8"]), stranger=st.ip_addresses().map(str))
def test_headers_sent_by_a_client_do_not_change_the_address_the_proxy_adds(
    before: str, networks: list[str], stranger: str
) -> None:
    if not proxies(*networks).trusts(stranger):
        assert client(PROXY, f"{before}, {stranger}", *networks) == stranger


@given(connection=LIKELY, said=st.text(max_size=20) | st.from_regex(r"[0-9.eE+-]{0,15}"), networks=NETWORKS)
def test_the_start_of_a_request_is_in_the_recent_past(connection: str, said: str, networks: list[str]) -> None:
    moment = received_at(connection, said, *networks)
    assert SEEN_AT - 1_000_000 <= moment <= SEEN_AT
    if not proxies(*networks).trusts(connection):
        assert moment == SEEN_AT


@pytest.mark.parametrize("ask", [Proxies.client, Proxies.scheme, Proxies.request_id])
@given(values=st.lists(st.text(max_size=20), min_size=5, max_size=5))
def test_no_header_raises_an_error(ask: Callable[[Proxies, dict[str, str]], str], values: list[str]) -> None:
    headers = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_REQUEST_ID", RECEIVING_SECONDS)
    for connection in (PROXY, values[4]):
        assert isinstance(
            ask(proxies("10.0.0.0/8"), {"REMOTE_ADDR": connection, **dict(zip(headers, values, strict=False))}), str
        )
