"""The guard of outgoing requests: what is refused, what is pinned, and that limits hold against a server that means harm."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.resources.outgoing import (
    Origin,
    OversizedAnswerError,
    RefusedAddressError,
    UnreachableError,
    judge,
    origin_of,
    send,
)


def names(*addresses: str) -> Callable[..., list[tuple[Any, ...]]]:
    """A name service that knows one host."""
    return lambda _host, port, **_: [(0, 0, 0, "", (address, port)) for address in addresses]


class Server(ThreadingHTTPServer):
    """Records what it is asked for and answers as told."""

    daemon_threads = True

    def __init__(self, answer: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                answer(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what is tested."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Server]:
    with Server(answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


def say(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.9.1",
        "10.0.0.1",
        "172.16.4.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "::1",
        "::",
        "fe80::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "::127.0.0.1",
        "::10.0.0.1",
        "::8.8.8.8",
        "fec0::1",
        "64:ff9b:1::a00:1",
    ],
)
def test_a_host_that_resolves_to_an_address_of_the_inside_is_refused(address: str) -> None:
    with pytest.raises(RefusedAddressError, match="public"):
        judge("https://music.example/cover.png", resolve=names(address))


def test_one_inner_address_among_public_ones_refuses_the_host() -> None:
    with pytest.raises(RefusedAddressError):
        judge("https://music.example/", resolve=names("93.184.216.34", "10.0.0.1"))


@pytest.mark.parametrize("written", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "127.0.0.1."])
def test_another_spelling_of_loopback_is_refused_by_the_address_that_it_means(written: str) -> None:
    with pytest.raises((RefusedAddressError, UnreachableError)):
        judge(f"https://{written}/")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://music.example/",
        "ftp://music.example/",
        "data:text/plain,x",
        "https://",
        "//music.example/",
        "https://music.example:99999/",
        "https://music.example\\@10.0.0.1/",
        "https://music.example/\r\nHost: other",
        "https://mu sic.example/",
        "https://user:word@music.example/",
        "https://user@music.example/",
        "https://[::1/",
        "\nhttps://music.example/",
        "",
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        judge(url, resolve=names("93.184.216.34"))


def test_clear_text_is_allowed_only_where_an_operator_named_the_origin() -> None:
    with pytest.raises(RefusedAddressError, match="https"):
        judge("http://music.example/", resolve=names("93.184.216.34"))
    found = judge("http://hooks.example/deep?x=1", trusted=["http://hooks.example/other"], resolve=names("10.0.0.9"))
    assert (str(found.addresses[0]), found.path) == ("10.0.0.9", "/deep?x=1")


@pytest.mark.parametrize(
    "url", ["http://hooks.example:8080/", "https://hooks.example/", "http://other.example/", "http://hooks.example.evil.example/"]
)
def test_trust_is_in_scheme_host_and_port_together(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        judge(url, trusted=["http://hooks.example/"], resolve=names("127.0.0.1"))


@pytest.mark.parametrize("address", ["::10.0.0.1", "fec0::1"])
def test_an_old_form_of_an_inner_address_is_for_those_whom_a_setting_names(address: str) -> None:
    assert judge("http://hooks.example/", trusted=["http://hooks.example/"], resolve=names(address)).addresses


@pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "::169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"])
def test_no_setting_opens_the_metadata_service_of_a_cloud(address: str) -> None:
    with pytest.raises(RefusedAddressError):
        judge("http://hooks.example/", trusted=["http://hooks.example/"], resolve=names(address))


@given(st.text(max_size=60))
def test_any_text_is_an_origin_or_is_refused_in_words(text: str) -> None:
    for url in (text, f"https://{text}", f"https://music.example/{text}"):
        try:
            found = origin_of(url)
        except RefusedAddressError as refused:
            assert "music.example" not in str(refused) or "user" in str(refused)
        else:
            assert found.scheme in ("http", "https")
            assert origin_of(f"{found}/") == found


@given(st.ip_addresses())
def test_no_address_is_allowed_that_is_not_global(address: Any) -> None:
    try:
        judge("https://music.example/", resolve=names(str(address)))
    except RefusedAddressError:
        return
    assert address.is_global
    assert not address.is_multicast


def test_a_name_that_changes_its_address_after_it_was_judged_changes_nothing() -> None:
    asked = []

    def changing(_host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(port)
        return [(0, 0, 0, "", ("127.0.0.1" if len(asked) == 1 else "127.0.0.2", port))]

    with serving(say(200, b"first")) as server:
        url = f"http://rebinding.example:{server.server_port}/"
        assert send(url, trusted=[url], resolve=changing).body == b"first"
        assert server.asked[0][2]["Host"] == f"rebinding.example:{server.server_port}"
    assert len(asked) == 1


def test_what_is_sent_arrives_and_what_is_answered_comes_back() -> None:
    with serving(say(429, b"later", Retry_After="7")) as server:
        answer = send(
            f"{server.url}/hook?a=1", method="POST", body=b"{}", headers={"Content-Type": "application/json"}, trusted=[server.url]
        )
        command, path, headers, body = server.asked[0]
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "7", b"later")
    assert (command, path, headers["Content-Type"], body) == ("POST", "/hook?a=1", "application/json", b"{}")
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data/", "https://10.0.0.1/", "file:///etc/passwd", "//127.0.0.2/", "http://127.0.0.1:1/", "/a\tb"],
)
def test_a_redirect_to_anywhere_else_is_refused(location: str) -> None:
    with serving(say(302, Location=location)) as server, pytest.raises(RefusedAddressError):
        send(f"{server.url}/secret-path", trusted=[server.url])
    assert len(server.asked) == 1


def test_a_redirect_on_the_same_origin_is_followed_but_not_for_ever() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        (say(301, Location="/there") if handler.path == "/here" else say(200, b"found"))(handler)

    with serving(answer) as server:
        assert send(f"{server.url}/here", trusted=[server.url]).body == b"found"
    with serving(say(302, Location="/again")) as server, pytest.raises(RefusedAddressError, match="many"):
        send(server.url, trusted=[server.url])
    assert len(server.asked) == 4


def test_a_post_is_not_sent_again_to_where_it_is_redirected() -> None:
    with serving(say(307, Location="/there")) as server:
        assert send(server.url, method="POST", body=b"once", trusted=[server.url]).status == 307
    assert len(server.asked) == 1


def test_an_answer_longer_than_its_limit_is_refused_however_long_it_says_that_it_is() -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    with serving(endless) as server, pytest.raises(OversizedAnswerError):
        send(server.url, trusted=[server.url], limit_bytes=100_000)
    with serving(say(200, b"x" * 10)) as server:
        assert send(server.url, trusted=[server.url], limit_bytes=10).body == b"x" * 10


def test_a_packed_answer_is_not_unpacked() -> None:
    packed = b"\x1f\x8b\x08" + bytes(40)
    with serving(say(200, packed, Content_Encoding="gzip")) as server:
        assert send(server.url, trusted=[server.url]).body == packed


@pytest.mark.parametrize("place", ["headers", "body"])
def test_a_server_that_drips_is_cut_off_at_the_deadline(place: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        if place == "body":
            handler.send_response(200)
            handler.end_headers()
        while True:
            handler.wfile.write(b"a")
            handler.wfile.flush()
            time.sleep(0.05)

    started = time.monotonic()
    with serving(drip) as server, pytest.raises(UnreachableError):
        send(server.url, trusted=[server.url], timeout_s=0.4)
    assert time.monotonic() - started < 3


def test_an_answer_that_was_cut_short_is_no_answer() -> None:
    with serving(say(200, b"half", Content_Length="100")) as server, pytest.raises(UnreachableError, match="IncompleteRead"):
        send(server.url, trusted=[server.url])


def test_a_message_names_the_origin_and_neither_path_nor_query() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/services/T0/hidden?token=hidden"
    with pytest.raises(UnreachableError) as unreachable:
        send(url, trusted=[url])
    with pytest.raises(RefusedAddressError) as refused:
        send(url)
    assert "hidden" not in str(unreachable.value) + str(refused.value)
    assert "127.0.0.1" in str(unreachable.value)


def test_an_unknown_name_is_unreachable() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[Any, ...]]:
        raise socket.gaierror

    with pytest.raises(UnreachableError, match="known"):
        judge("https://nobody.example/", resolve=unknown)


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(say(200)) as proxy, serving(say(200, b"direct")) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert send(server.url, trusted=[server.url]).body == b"direct"
    assert proxy.asked == []


def test_a_path_that_is_not_ascii_is_sent_in_percent_encoding_and_what_is_encoded_stays() -> None:
    with serving(say(200)) as server:
        send(f"{server.url}/hörer/%41?a=ü&b=1+2", trusted=[server.url])
    assert server.asked[0][1] == "/h%C3%B6rer/%41?a=%C3%BC&b=1+2"


def test_a_redirect_to_a_path_that_is_not_ascii_is_followed() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        (say(302, Location="/Übung".encode().decode("latin-1")) if handler.path == "/" else say(200, b"found"))(handler)

    with serving(answer) as server:
        assert send(server.url, trusted=[server.url]).body == b"found"
    assert server.asked[1][1] == "/%C3%9Cbung"


@pytest.mark.parametrize("value", ["Bearer “secret”", "secret\r\nX: y", "\ud800secret"])
def test_a_header_that_cannot_be_sent_is_refused_without_telling_it(value: str) -> None:
    with serving(say(200)) as server, pytest.raises(RefusedAddressError, match="header") as refused:
        send(server.url, headers={"Authorization": value}, trusted=[server.url])
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_half_a_character_in_a_path_and_a_redirect_to_no_address_are_refused() -> None:
    with pytest.raises(RefusedAddressError, match="no text"):
        judge("https://music.example/\ud800", resolve=names("93.184.216.34"))
    with serving(say(302, Location="http://[::1/")) as server, pytest.raises(RefusedAddressError, match="redirect"):
        send(server.url, trusted=[server.url])


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_is_checked_against_the_name_that_was_asked_for_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert, key = certificate(tmp_path, "music.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with serving(say(200, b"safe")) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        mine, other = f"https://music.example:{server.server_port}/", f"https://other.example:{server.server_port}/"
        with pytest.raises(UnreachableError, match="SSLCertVerificationError"):
            send(mine, trusted=[mine], resolve=names("127.0.0.1"))
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert send(mine, trusted=[mine], resolve=names("127.0.0.1")).body == b"safe"
        with pytest.raises(UnreachableError, match="SSLCertVerificationError"):
            send(other, trusted=[other], resolve=names("127.0.0.1"))


def test_an_origin_is_told_as_it_is_written() -> None:
    assert str(origin_of("https://Music.EXAMPLE/x")) == "https://music.example:443"
    assert str(Origin("http", "::1", 80)) == "http://[::1]:80"
    assert origin_of("https://bücher.example/") == origin_of("https://xn--bcher-kva.example:443/")
