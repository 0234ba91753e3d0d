"""What is hidden before anything is written down, and what is left legible."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.resources.redaction import HIDDEN, Redaction, open_redaction, secrets_of

hide = Redaction()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("cannot reach postgresql+psycopg2://u:pa:ss%40word@db:5432/x", "pa:ss%40word"),
        ("redis://:hunter2@cache", "hunter2"),
        ("Authorization: Bearer abcdefghijkl.mno", "abcdefghijkl"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("api_key=4f9a8b7c6d", "4f9a8b7c6d"),
        ('{"password": "open sesame now"}', "sesame"),
        ("client_secret='abc def'", "abc def"),
        ("SPOTIFY_TOKEN=zzz-yyy", "zzz-yyy"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "eyJzdWIiOiIxMjM0In0"),
        ("key AKIAIOSFODNN7EXAMPLE here", "AKIAIOSFODNN7EXAMPLE"),
        ("xoxb-123456789012-abcdef", "123456789012"),
        ("posted to https://hooks.slack.com/services/T0/B0/xyz", "T0/B0/xyz"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("mail of Ada.Lovelace+x@mail.example.org.", "Lovelace"),
        ("from 203.0.113.77:443", "203.0.113.77"),
        ("from 2001:db8::ff00:42:8329", "2001:db8"),
        ("peer ::ffff:203.0.113.7 left", "203.0.113.7"),
        ("spotify:user:ada1815:playlist", "ada1815"),
        ("https://open.spotify.com/user/ada1815?si=1", "ada1815"),
    ],
)
def test_what_looks_like_a_secret_or_a_person_is_hidden(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in hide(text)
    assert HIDDEN in hide(text)


@pytest.mark.parametrize(
    "text",
    [
        "listening/plays: 3 of 31 partitions",
        "made 2026-06-09T08:30:00.125+00:00 in 12:34:56",
        "http://127.0.0.1:3000/runs/01234567-89ab-cdef-0123-456789abcdef",
        "bound to 0.0.0.0 and ::1",
        "n_tokens=512, tokens: 7",
        "dagster 1.13.27, version 1.2.3.4.5",
        "digest e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "trace 0af7651916cd43dd8448eb211c80319c",
        "ratio 4.25.1",
        "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
        "a::operator b, std::vector<int>",
        "the token was refused",
        "ärger über @ an @mention",
    ],
)
def test_what_is_neither_stays_legible(text: str) -> None:
    assert hide(text) == text


def test_the_values_of_secrets_are_hidden_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "dsn").write_text("https://abcdef0123456789@sentry.example/1\n")
    environment = {
        "SPOTIFY_AI_LANDING_KEY": "landing-key-value",
        "SPOTIFY_AI_SENTRY_DSN_FILE": str(tmp_path / "dsn"),
        "MY_OWN_TOKEN": "token-of-others",
        "SPOTIFY_AI_SLACK_WEBHOOK_AUDIO": "https://chat.example/hooks/audio-secret-path",
        "PATH": "/usr/bin:/usr/local/bin",
        "SPOTIFY_AI_DATA": str(tmp_path),
    }
    told = open_redaction(environment)(
        "landing-key-value abcdef0123456789 token-of-others /hooks/audio-secret-path /usr/bin:/usr/local/bin"
    )
    assert told == f"{HIDDEN} {HIDDEN} {HIDDEN} {HIDDEN} /usr/bin:/usr/local/bin"
    assert str(tmp_path) not in secrets_of(environment)


def test_of_two_secrets_the_longer_is_hidden_whole() -> None:
    assert Redaction(["sesame-open", "sesame-open-now"])("sesame-open-now") == HIDDEN


def test_a_secret_of_few_characters_hides_nothing_else() -> None:
    assert Redaction(["test", ""])("the test passes") == "the test passes"


def test_every_text_within_a_value_is_redacted() -> None:
    value = {"a": ["ada@example.org", 1, None, True], "b@example.org": {"c": "fine"}}
    assert hide.all_of(value) == {"a": [HIDDEN, 1, None, True], HIDDEN: {"c": "fine"}}


@given(st.text(), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=8))
def test_no_secret_survives_in_any_text(text: str, secret: str) -> None:
    redact = Redaction([secret])
    if secret in HIDDEN:
        return
    for told in (secret, text + secret, secret + text, f"{text} {secret} {text}"):
        assert secret not in redact(told).replace(HIDDEN, "\0")


@given(st.text())
def test_redaction_takes_any_text_and_twice_is_as_once(text: str) -> None:
    once = hide(text)
    assert hide(once) == once
    json.dumps(once)


@pytest.mark.parametrize(
    "piece", ["a-", "eyJ-", "://", ":", "a:", "0:", "secret", "token='", "a.", "@a.", "1.", "sk-", "-----BEGIN ", "user:"]
)
def test_no_text_takes_long(piece: str) -> None:
    """Whoever names a track must not be able to stop the log."""
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    hide(text)
    hide(f"https{text}")
    assert time.process_time() - began < 2
