"""The endpoint answers this machine alone unless told otherwise, and says no more than it should."""

import http.client
import json
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from spotify_ai_assets.errors import SettingsError
from spotify_ai_assets.observability.metrics.serving import Endpoint, is_loopback

METRICS = b"# HELP a_thing Of some kind.\n# TYPE a_thing gauge\na_thing 1.0\n"


class Serving:
    """An endpoint with what it serves, to be changed by tests."""

    def __init__(self, host="127.0.0.1", **options):
        self.health = {"grade": "good"}
        self.metrics = METRICS
        self.endpoint = Endpoint(lambda: self.metrics, lambda: self.health, host, 0, **options)
        self.thread = threading.Thread(target=self.endpoint.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def close(self):
        self.endpoint.shutdown()
        self.endpoint.server_close()
        self.thread.join()

    def get(self, path, method="GET", **headers):
        connection = http.client.HTTPConnection(self.endpoint.server_address[0], self.endpoint.port, timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), body


@pytest.fixture
def serving():
    found = Serving()
    yield found
    found.close()


def test_metrics_are_answered_in_the_text_format(serving):
    status, headers, body = serving.get("/metrics")
    assert (status, body) == (200, METRICS)
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_health_is_json_and_fails_where_a_part_fails(serving):
    assert serving.get("/health")[0] == 200
    serving.health = {"grade": "warning"}
    assert serving.get("/health")[0] == 200
    serving.health = {"grade": "failing", "components": {}}
    status, headers, body = serving.get("/health?since=ever")
    assert (status, headers["Content-Type"], json.loads(body)["grade"]) == (503, "application/json", "failing")


def test_a_foreign_host_is_refused_as_a_page_with_a_rebound_name_would_send_it(serving):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1"):
        assert serving.get("/metrics", Host=host)[0] == 403
    for host in ("localhost", "localhost:9464", "127.0.0.1:1", "[::1]:9464"):
        assert serving.get("/metrics", Host=host)[0] == 200


def test_a_host_or_a_path_that_is_no_address_is_answered(serving):
    assert serving.get("/metrics", Host="[::1")[0] == 400
    with socket.create_connection(("127.0.0.1", serving.endpoint.port), timeout=10) as stream:
        stream.sendall(b"GET http://[::1/metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in stream.recv(100).splitlines()[0]


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_the_loopback_of_ipv6_is_listened_on(host):
    try:
        serving = Serving(host)
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        assert serving.get("/metrics")[0] == 200
    finally:
        serving.close()


def test_an_endpoint_for_others_takes_any_host():
    serving = Serving(is_public=True)
    try:
        assert serving.get("/metrics", Host="metrics.example")[0] == 200
    finally:
        serving.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "metrics.example", ""])
def test_an_address_of_others_is_refused_without_the_flag(host):
    with pytest.raises(SettingsError, match="--public"):
        Endpoint(lambda: b"", dict, host, 0)


def test_loopback_is_told_from_all_else():
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "128.0.0.1", "localhost.evil.example", "", "127.1")))


def test_other_paths_and_methods_are_refused(serving):
    assert serving.get("/")[0] == 404
    assert serving.get("/metrics/../../etc/passwd")[0] == 404
    assert serving.get("/metrics", method="POST")[0] == 501
    assert serving.get("/metrics", method="HEAD")[1:] == (serving.get("/metrics")[1] | {"Date": serving.get("/metrics")[1]["Date"]}, b"")


def test_a_failure_is_told_by_its_kind_alone(serving):
    serving.health = {}
    status, _, body = serving.get("/health")
    assert (status, body) == (500, b"KeyError\n")


def test_many_ask_at_once(serving):
    with ThreadPoolExecutor(8) as pool:
        assert {body for _, _, body in pool.map(lambda _: serving.get("/metrics"), range(40))} == {METRICS}


def test_urllib_understands_it(serving):
    with urllib.request.urlopen(f"http://127.0.0.1:{serving.endpoint.port}/metrics", timeout=10) as answer:
        assert answer.read() == METRICS
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"http://127.0.0.1:{serving.endpoint.port}/nothing", timeout=10)
