"""Redaction: in no form that a server or a library may quote is a secret shown, and what is left can still be read."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest

from nexus.bootstrap.redaction import WITHHELD, parts_of, redacted

HOOK = "https://hooks.chat.example/services/T012/B345/s3cretwebhookkey?thread=9f8e7d6c"
PASSWORD = "p&ss/<w\"ord'%7é"


def shown(told: str, *secrets: str) -> str:
    """What an http task's message shows of a server's words."""
    return redacted(told, set(secrets), {part for secret in secrets for part in parts_of(secret)})


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("Cannot POST /services/T012/B345/s3cretwebhookkey", "Cannot POST ***"),
        ("Cannot POST /services/T012/B345/s3cretwebhookkey?thread=9f8e7d6c", "Cannot POST ***"),
        ("no route /T012/B345/s3cretwebhookkey", "no route /***"),
        ("no hook S3CRETWEBHOOKKEY in B345", "no hook *** in ***"),
        ("thread 9f8e7d6c is closed", "*** *** is closed"),
        ("<p>/services/T012 was not found on hooks.chat.example</p>", "<p>*** was not found on hooks.chat.example</p>"),
        (r"no \/services\/T012\/B345\/s3cretwebhookkey", "no ***"),
        ("to %2Fservices%2fT012%2FB345%2Fs3cretwebhookkey", "to ***"),
        (HOOK, "***"),
    ],
)
def test_the_parts_of_a_webhooks_url_are_hidden_and_its_host_is_not(told: str, left: str) -> None:
    assert shown(told, HOOK) == left


ENCODED = {
    "plain": PASSWORD,
    "percent": quote(PASSWORD, safe=""),
    "lower-case-percent": quote(PASSWORD, safe="").lower(),
    "form": quote_plus(PASSWORD),
    "uri-component": quote(PASSWORD, safe="!'()*"),
    "uri": quote(PASSWORD, safe=";,/?:@&=+$#!'()*"),
    "json": json.dumps(PASSWORD),
    "json-utf8": json.dumps(PASSWORD, ensure_ascii=False),
    "json-php": json.dumps(PASSWORD).replace("/", "\\/"),
    "json-in-json": json.dumps(json.dumps({"p": PASSWORD})),
    "json-utf8-in-json": json.dumps(json.dumps({"p": PASSWORD}, ensure_ascii=False), ensure_ascii=False),
    "html": html.escape(PASSWORD),
    "html-go": html.escape(PASSWORD).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "repr": repr(PASSWORD),
    "bytes": repr(PASSWORD.encode()),
    **{
        f"basic-{user}": "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        for user in ("a", "ab", "abc", "")
    },
    "base64url": base64.urlsafe_b64encode(PASSWORD.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", ENCODED)
def test_a_password_is_hidden_in_every_usual_form(form: str) -> None:
    text = shown(f"you sent {ENCODED[form]}.", PASSWORD)
    assert "***" in text
    for left in ("p&ss", "ord'", "%26ss", "w%22ord", "&amp;ss", "ord&#"):
        assert left not in text
    if form.startswith("base64"):
        assert text == "you sent ***."
    if form.startswith("basic"):
        # What is left is of the user's name, and what the last bytes share with their padding.
        assert len(text) <= len("you sent Basic ***.") + 5 + 3


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("user:abc@Tr0ub4dor", "user ... abc@Tr0ub4dor"),
        ("http://svc:c4n4ry@10.0.0.1/fail", base64.b64encode(b"svc:c4n4ry").decode()),
        ("http://svc:c4%2Fn4ry@10.0.0.1/fail", base64.b64encode(b"svc:c4/n4ry").decode()),
        (base64.b64encode(b"svc:c4n4ry").decode(), "svc has c4n4ry"),
        ("Basic " + base64.b64encode(b"svc:c4n4ry").decode(), "svc has c4n4ry"),
        ('{"private_key": "c4n4ry", "user": "x"}', "no such key: c4n4ry"),
        ("postgresql://u:a/c4n4ry@db/x", "host u:a, path /c4n4ry"),
        ("token=c4n4ry; Path=/", "cookie c4n4ry"),
        ("  c4n4ry\n", "key 'c4n4ry'"),
        ("c4n4ry", "%22c4n4ry%22 \\nc4n4ry"),
        ("Ab12", "pw%3AAb12%40host \\u0022Ab12\\u0022"),
    ],
)
def test_what_a_value_is_made_of_is_hidden(value: str, told: str) -> None:
    text = shown(told, value).lower()
    for secret in ("c4n4ry", "tr0ub4dor", "yzrungry", "ab12", base64.b64encode(b"svc:c4/n4ry").decode().lower()):
        assert secret not in text


def test_overlapping_places_are_one() -> None:
    assert shown("x1bcdefghijk1x", "1bcdefgh", "efghijk1") == "x***x"


@pytest.mark.parametrize(
    ("value", "told", "left"),
    [
        ("e", "connection failed", "connection failed"),
        ("e", "connection refused for user e", WITHHELD),
        (" ", "connection - failed", "connection - failed"),
        ("-", "connection - failed", "connection - failed"),
        ("connection", "connection failed", WITHHELD),
        ("5432", "port 5432 is closed", WITHHELD),
        ("5432", "port 54321 is closed", "port 54321 is closed"),
        ("https://x.example/orders?k=v", "no orders: reorders", "no ***: reorders"),
    ],
)
def test_no_gap_tells_a_plain_word(value: str, told: str, left: str) -> None:
    assert shown(told, value) == left


def test_a_text_without_secrets_and_one_of_odd_letters_stay_as_they_are() -> None:
    assert shown("İstanbul ﬁ ß: nothing", "s3cr3t") == "İstanbul ﬁ ß: nothing"
    assert shown("İİİ s3cr3t ß", "s3cr3t") == "İİİ *** ß"


def test_a_large_secret_and_a_large_text_take_no_time() -> None:
    started = time.process_time()
    large = "\n".join(f"line{n:05} {'x' * 60}" for n in range(300))
    assert "line00042" not in shown("line00042 " * 6_000, large)
    assert shown("some text", "\n".join(f"word{n}" for n in range(20_000))) == WITHHELD
    assert time.process_time() - started < 10
