"""Outgoing requests: every address that data or settings can influence goes through this one guard.

An address may come from a file of somebody else, and the platform stands inside a network that trusts it. So only ``https`` to public
addresses is allowed; a host is resolved once, every address that it resolves to is judged, and the connection goes to an address that
was judged, so an answer of the name server that changes afterwards changes nothing. What the operator's own settings name may also be
a loopback or a private address, and may be ``http``. Redirects stay on their origin. Answers are bounded in size and in time. The
environment's proxies are not used: a proxy would resolve the name again.
"""

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from spotify_ai_assets.errors import PermanentError, TransientError

LIMIT_BYTES = 1 << 20
TIMEOUT_S = 10.0
REDIRECTS = 3

_PORTS = {"http": 80, "https": 443}
_FOLLOWED = (301, 302, 303, 307, 308)
_NO_URL = re.compile(r"[\x00-\x20\x7f-\x9f\\]")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_OLD_IPV4 = ipaddress.ip_network("::/96")
"""IPv4 addresses as IPv6 wrote them first (RFC 4291, 2.5.5.1): no network routes them any more, a machine may take them for its own."""

_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_PRINTED = "".join(map(chr, range(0x21, 0x7F)))
_CHUNK = 1 << 16

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[..., Iterable[tuple[Any, ...]]]
"""As ``socket.getaddrinfo``."""


class RefusedAddressError(PermanentError):
    """An address that requests must not go to. The message names the rule and the origin, never the path or what is secret."""


class OversizedAnswerError(PermanentError):
    """An answer has more bytes than its limit."""


class UnreachableError(TransientError):
    """No answer in time, or the connection failed."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is asked: scheme, host and port.

    Attributes:
        scheme: ``http`` or ``https``.
        host: In lower case, as its name is looked up.
        port: Given or the scheme's own.
    """

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Destination:
    """An address that was judged, and where connections to it go.

    Attributes:
        origin: Who is asked.
        path: What for: path and query.
        addresses: The judged network addresses of the host, in the name server's order.
    """

    origin: Origin
    path: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status; errors of the other side are answers too.
        headers: By lower-case name; the last of several.
        body: As it was sent, never unpacked.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def origin_of(url: str) -> Origin:
    """Who a URL asks.

    Raises:
        RefusedAddressError: It is no plain http or https URL, or names a user or a password.
    """
    try:
        parts = urlsplit(url)
        # A parser of another library may see another host behind such characters, so they are not interpreted at all.
        if _NO_URL.search(url) or parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError
        host = _plain_host(parts.hostname)
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:  # of which UnicodeError is one; the message may quote the URL
        raise RefusedAddressError("a URL must be plain http or https with a host") from None
    if parts.username is not None or parts.password is not None:
        raise RefusedAddressError(f"a URL must not hold a user or a password: {Origin(parts.scheme, host, port)}")
    return Origin(parts.scheme, host, port)


def _plain_host(name: str) -> str:
    """A host as the name service is asked for it: an IPv6 address, or labels of letters, digits and hyphens.

    Raises:
        ValueError: It is neither; some characters become others, such as a space, when a name is prepared.
    """
    if ":" in name:
        return str(ipaddress.IPv6Address(name))
    host = name.rstrip(".").encode("idna").decode().lower()
    if not _HOST.fullmatch(host):
        raise ValueError
    return host


def judge(url: str, *, trusted: Iterable[str] = (), resolve: Resolve = socket.getaddrinfo) -> Destination:
    """Decide whether requests may go to a URL, and resolve its host, once.

    Args:
        url: From wherever.
        trusted: URLs that the operator's own settings name: their origins may be ``http``, loopback and private. Never anything that
            data can influence.
        resolve: The name service.

    Raises:
        RefusedAddressError: They must not. One address of several that is refused refuses all.
        UnreachableError: The name service does not know the host.
    """
    origin = origin_of(url)
    is_trusted = origin in {origin_of(each) for each in trusted}
    if origin.scheme != "https" and not is_trusted:
        raise RefusedAddressError(f"only https is allowed: {origin}")
    try:
        found = [
            ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in resolve(origin.host, origin.port, type=socket.SOCK_STREAM)
        ]
    except (OSError, UnicodeError):
        raise UnreachableError(f"the name of {origin} is not known") from None
    if not found:
        raise UnreachableError(f"the name of {origin} is not known")
    for address in found:
        if not _is_allowed(address, is_trusted):
            raise RefusedAddressError(f"{origin} is not a public address")
    return Destination(origin, _path_of(urlsplit(url), origin), tuple(dict.fromkeys(found)))


def _path_of(parts: SplitResult, origin: Origin) -> str:
    """Path and query as a request line holds them: what is not ASCII in percent encoding, the rest as it was given.

    Raises:
        RefusedAddressError: They hold what has no such form.
    """
    try:
        return quote(f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", safe=_PRINTED)
    except UnicodeEncodeError:  # half a character
        raise RefusedAddressError(f"a path that is no text: {origin}") from None


def _is_allowed(address: Address, is_trusted: bool) -> bool:
    """Whether an address may be connected to, looking through the forms that carry an IPv4 address in an IPv6 one.

    Metadata services of clouds are link-local: no setting opens those.
    """
    if isinstance(address, ipaddress.IPv6Address):
        carried = (
            address.ipv4_mapped or address.sixtofour or (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        )
        if carried:
            return _is_allowed(carried, is_trusted)
        if address in _OLD_IPV4 and int(address) > 1:
            return is_trusted and _is_allowed(ipaddress.IPv4Address(int(address)), is_trusted)
        if address.teredo:
            return False
        if address.is_site_local or address in _LOCAL_NAT64:
            return is_trusted
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    return address.is_global or (is_trusted and (address.is_loopback or address.is_private))


def send(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    trusted: Iterable[str] = (),
    timeout_s: float = TIMEOUT_S,
    limit_bytes: int = LIMIT_BYTES,
    resolve: Resolve = socket.getaddrinfo,
) -> Answer:
    """Send one request through the guard.

    Redirects of GET and HEAD are followed up to three times, on the same origin and to the addresses that were judged; those of other
    methods are given back as the answer. Bodies are not asked for packed and never unpacked.

    Args:
        url: Where to.
        method: The HTTP method.
        body: What to send.
        headers: Beside ``Host`` and ``Content-Length``.
        trusted: As of ``judge``.
        timeout_s: For everything after the name was resolved, in seconds.
        limit_bytes: The most bytes of an answer's body.
        resolve: The name service.

    Raises:
        RefusedAddressError: The address, or one that it redirects to, must not be asked.
        OversizedAnswerError: The answer is longer than the limit.
        UnreachableError: No connection, or no answer in time.
    """
    end = time.monotonic() + timeout_s
    destination = judge(url, trusted=trusted, resolve=resolve)
    told = {"Accept-Encoding": "identity", "Connection": "close", **(headers or {})}
    for _hop in range(REDIRECTS + 1):
        answer = _ask(destination, method, body, told, end, limit_bytes)
        location = answer.headers.get("location")
        if answer.status not in _FOLLOWED or method not in ("GET", "HEAD") or not location:
            return answer
        destination = _follow(destination, location)
    raise RefusedAddressError(f"too many redirects: {destination.origin}")


def _follow(destination: Destination, location: str) -> Destination:
    origin = destination.origin
    # Headers are read byte by byte; one that is not ASCII is most likely UTF-8.
    told = location.encode("latin-1", "replace").decode(errors="surrogateescape")
    try:
        if _NO_URL.search(told):
            raise ValueError
        target = urljoin(f"{origin}{destination.path}", told)
    except ValueError:
        raise RefusedAddressError(f"a redirect that is no plain URL: {origin}") from None
    if origin_of(target) != origin:
        raise RefusedAddressError(f"a redirect to another host: {origin}")
    return Destination(origin, _path_of(urlsplit(target), origin), destination.addresses)


def _ask(destination: Destination, method: str, body: bytes | None, headers: Mapping[str, str], end: float, limit_bytes: int) -> Answer:
    origin = destination.origin
    connection = http.client.HTTPConnection(origin.host, origin.port)
    try:
        with _connected(destination, end) as stream:
            connection.sock = stream
            _write(connection, origin, method, destination.path, body, headers)
            response = connection.getresponse()
            found = _read(response, limit_bytes, origin)
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{origin} did not answer: {type(error).__name__}") from None
    if time.monotonic() >= end:  # what was cut off at the deadline may look complete
        raise UnreachableError(f"{origin} did not answer in time")
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, found)


def _write(
    connection: http.client.HTTPConnection, origin: Origin, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
) -> None:
    try:
        connection.request(method, path, body, dict(headers))
    except ValueError:  # a header that no request can hold: its text must not be told
        raise RefusedAddressError(f"a request with a header that cannot be sent: {origin}") from None


def _read(response: http.client.HTTPResponse, limit_bytes: int, origin: Origin) -> bytes:
    found = bytearray()
    while chunk := response.read(min(_CHUNK, limit_bytes + 1 - len(found))):
        found += chunk
        if len(found) > limit_bytes:
            raise OversizedAnswerError(f"an answer of more than {limit_bytes} bytes: {origin}")
    if response.length:  # reading in parts does not say so by itself
        raise http.client.IncompleteRead(bytes(found), response.length)
    return bytes(found)


@contextmanager
def _connected(destination: Destination, end: float) -> Iterator[socket.socket]:
    """A connection to one of the judged addresses, TLS where asked for, that is cut off at a deadline.

    A timeout of a socket is one of each read: whoever sends a byte now and then would keep it open for ever.
    """
    held = [_connect(destination, end)]

    def cut() -> None:
        with suppress(OSError):
            held[-1].shutdown(socket.SHUT_RDWR)

    watchdog = threading.Timer(max(end - time.monotonic(), 0), cut)
    watchdog.daemon = True
    watchdog.start()
    try:
        if destination.origin.scheme == "https":
            context = ssl.create_default_context()
            held.append(context.wrap_socket(held[0], server_hostname=destination.origin.host, do_handshake_on_connect=False))
            held[-1].do_handshake()  # type: ignore[attr-defined]
        yield held[-1]
    finally:
        watchdog.cancel()
        held[-1].close()


def _connect(destination: Destination, end: float) -> socket.socket:
    failure: OSError = TimeoutError()
    for address in destination.addresses:
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            stream = socket.create_connection((str(address), destination.origin.port), timeout=left)
        except OSError as error:
            failure = error
        else:
            stream.settimeout(max(end - time.monotonic(), 0.001))
            return stream
    raise failure
