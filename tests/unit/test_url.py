"""URLs of http tasks: no value moves a request, or what it brings along, to another place."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import spec, task

from nexus.adapters.local.expansion import expand
from nexus.bootstrap.http import is_listed
from nexus.core.expressions.templates import Evaluator, ExpressionError, parse
from nexus.core.expressions.urls import reaches_host, rendered
from nexus.core.validate import problems

SECRET = {"TOKEN": "s3cr3t", "BASE": "https://base.example"}


@pytest.mark.parametrize(
    ("template", "values", "url"),
    [
        # A value that brings the origin along is kept as it is.
        ("${{ a }}", ["http://h:1/p?q=%20#f"], "http://h:1/p?q=%20#f"),
        ("${{ a }}/day/${{ b }}.json", ["http://orders", "2026-11-23"], "http://orders/day/2026-11-23.json"),
        ("${{ a }}/${{ b }}", ["http://h/p?q=1", "x y"], "http://h/p?q=1/x%20y"),
        ("http://${{ a }}.example/", ["eu"], "http://eu.example/"),
        ("http://${{ a }}/${{ b }}", ["[::1]:80", "?"], "http://[::1]:80/%3F"),
        # What begins behind it is data.
        ("https://h/${{ a }}", ["a/b?c#d&e=%2e+ü \\@:$(TOKEN)"], "https://h/a/b%3Fc%23d%26e%3D%252e%2B%C3%BC%20%5C%40%3A%24%28TOKEN%29"),
        ("https://h/?day=${{ a }}&x=1", ["1&x=2"], "https://h/?day=1%26x%3D2&x=1"),
        ("https://h/#${{ a }}", ["x y"], "https://h/#x%20y"),
        ("https://h?${{ a }}", ["x=1"], "https://h?x%3D1"),
        ("https://h/${{ a }}/${{ b }}", [3, [1, True]], "https://h/3/%5B1%2Ctrue%5D"),
        ("$(BASE)/${{ a }}", ["x?"], "$(BASE)/x%3F"),
        ("$(BASE):8080/${{ a }}", ["x?"], "$(BASE):8080/x%3F"),
        ("http://$(HOST)/${{ a }}", ["x?"], "http://$(HOST)/x%3F"),
        # A segment with dots alone is named in neither path nor value; in the query they are text.
        ("https://h/?p=${{ a }}", ["../.."], "https://h/?p=../.."),
        ("https://h/v${{ a }}", [".."], "https://h/v.."),
        ("https://h/../${{ a }}", ["x"], "https://h/../x"),
        ("https://h/${{ a }}", ["..."], "https://h/..."),
    ],
)  # fmt: skip
def test_a_value_is_written_by_where_it_begins(template: str, values: list[Any], url: str) -> None:
    assert rendered(parse(template), values) == url


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("https://h/${{ a }}", ".."),
        ("https://h/${{ a }}/x", "."),
        ("https://h/x/${{ a }}/y", "a/../b"),
        ("https://h/x/.${{ a }}", "."),
        ("https://h/x/%2e${{ a }}", "./y"),
        ("https://h/x${{ a }}?q", "/.."),
        ("$(BASE)/${{ a }}", "../admin"),
    ],
)
def test_a_segment_that_names_another_place_fails(template: str, value: str) -> None:
    with pytest.raises(ExpressionError, match="segment of the path"):
        rendered(parse(template), [value])


@given(st.text(max_size=30))
def test_a_value_behind_the_origin_is_one_part_of_the_url_and_comes_out_as_it_was(value: str) -> None:
    template = parse("https://h:8443/before/${{ a }}/after?key=${{ a }}")
    try:
        url = expand(rendered(template, [value, value]), SECRET)
    except ExpressionError:
        assert {".", ".."} & set(value.split("/"))
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "h:8443", "")
    assert unquote(parts.path) == f"/before/{value}/after"
    assert unquote(parts.query) == f"key={value}"


@pytest.mark.parametrize(
    ("template", "reaches"),
    [
        ("https://h/${{ a }}", False),
        ("https://h?${{ a }}", False),
        ("https://h/x", False),
        ("$(BASE)/${{ a }}", False),
        ("http://$(HOST):80/${{ a }}", False),
        ("https://h${{ a }}", True),
        ("https://${{ a }}.h/", True),
        ("${{ a }}", True),
        ("${{ a }}/x", True),
        ("$(BASE)${{ a }}", True),
        ("$(SCHEME)://${{ a }}/x", True),
        ("https:/${{ a }}", True),
    ],
)
def test_whether_a_value_reaches_the_host_is_known_beforehand(template: str, reaches: bool) -> None:
    assert (reaches_host(parse(template)) is not None) is reaches


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"headers": [{"name": "A", "value": "$(TOKEN)"}]}, True),
        ({"query": [{"name": "A", "value": "$(TOKEN)"}]}, True),
        ({"json": {"a": ["x $(TOKEN)"]}}, True),
        ({"body": "$(TOKEN)"}, True),
        ({"body": "$$(TOKEN) $TOKEN ${TOKEN}"}, False),
        ({}, False),
        ({"body": "$(TOKEN)", "hosts": ["*.example.com"]}, False),
    ],
    ids=str,
)
def test_a_secret_goes_to_no_host_that_a_value_chose_but_those_listed(
    cel: Evaluator, fields: dict[str, Any], told: bool
) -> None:
    http = {"url": "http://${{ params.x }}.example.com/", **fields}
    found = problems(spec(task("t", http=http), params=[{"name": "x"}]), cel)
    assert [problem.path[-1] for problem in found] == (["url"] if told else [])


@pytest.mark.parametrize(
    ("host", "port", "entry", "listed"),
    [
        ("api.example.com", 443, "api.example.com", True),
        ("api.example.com", 8080, "api.example.com", True),
        ("api.example.com", 443, "api.example.com:443", True),
        ("api.example.com", 8080, "api.example.com:443", False),
        ("a.b.example.com", 443, "*.example.com", True),
        ("example.com", 443, "*.example.com", False),
        (".example.com", 443, "*.example.com", False),
        ("evilexample.com", 443, "*.example.com", False),
        ("api.example.com.evil.org", 443, "api.example.com", False),
        ("::1", 80, "[::1]", True),
        ("::1", 80, "[::1]:80", True),
        ("::1", 81, "[::1]:80", False),
        ("10.0.0.1", 80, "10.0.0.1:80", True),
    ],
)
def test_a_host_is_listed_by_name_by_what_it_is_below_or_with_its_port(
    host: str, port: int, entry: str, listed: bool
) -> None:
    assert is_listed(host, port, entry) is listed
