"""Checks of http tasks: what is refused is certain to fail, and what may be right passes."""

from __future__ import annotations

from typing import Any

import pytest

from nexus.api.tasks import Http
from nexus.core.task_types.http_checks import request


def problems(**fields: Any) -> list[str]:
    return [problem.message for problem in request(Http.model_validate(fields))]


@pytest.mark.parametrize(
    "url",
    [
        "http://orders.example",
        "http://orders.example:8080/day:1?at=12:99999",
        "http://user:password@orders.example/day",
        "http://user:password@orders.example:8080",
        "http://user:$(PASSWORD)@orders.example/day",
        "http://[fd00::1]/day",
        "http://[fd00::1]:8080/day",
        "http://orders.example:$(PORT)/day",
        "http://orders.example:${{ params.port }}/day",
        "http://orders.example:80${{ params.port }}/day",
        "http://${{ params.host }}:80800/day",
        "$(URL):99999/day",
        "${{ params.base }}/day",
        "http://orders.example:/day",
    ],
)
def test_an_address_that_may_be_right_passes(url: str) -> None:
    assert problems(url=url) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://orders.example:99999",
        "http://user:pass@orders.example:0/day",
        "https://[fd00::1]:x/day",
        "http://user:$(PASSWORD)@orders.example:65536",
        "http://a:b:80/day",
    ],
)
def test_a_port_that_is_none_is_told_with_its_place(url: str) -> None:
    (problem,) = request(Http.model_validate({"url": url}))
    port = problem.message.removeprefix('invalid port "').partition('"')[0]
    assert problem.offset is not None
    assert url[problem.offset :].startswith(port)
    assert "must be a number from 1 to 65535" in problem.message


@pytest.mark.parametrize(
    ("kind", "result", "refused"),
    [
        ("base64", "${{ response.json.total }}", True),
        ("text", "${{ response['json'] }}", True),
        ("text", "${{ response.text }}", False),
        ("json", "${{ response.json.total }}", False),
        (None, "${{ response.json.total }}", False),
    ],
)
def test_a_result_of_json_needs_an_answer_that_may_be_json(kind: str | None, result: str, refused: bool) -> None:
    assert bool(problems(url="http://orders.example", responseType=kind, result=result)) is refused
