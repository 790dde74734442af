"""Secrets and ConfigMaps of a local run."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import definition, task

from nexus.adapters.local.bindings import Bindings, of_manifest
from nexus.adapters.local.expansion import expand


def secret_env(name: str, key: str, **more: object) -> dict[str, object]:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


def test_a_secret_of_a_manifest_is_decoded_and_string_data_wins() -> None:
    data = {"a": base64.b64encode("é".encode()).decode(), "b": "eA=="}
    assert of_manifest({"kind": "Secret", "data": data, "stringData": {"b": "plain"}}) == {"a": "é", "b": "plain"}


def test_base64_in_lines_is_one_value_and_bytes_stay_bytes() -> None:
    text = base64.b64encode(b"x" * 100).decode()
    keystore = bytes(range(1, 256))
    data = {"lines": f"{text[:76]}\n{text[76:]}\r\n", "keystore": base64.b64encode(keystore).decode()}
    found = of_manifest({"kind": "Secret", "data": data})
    assert found["lines"] == "x" * 100
    assert os.fsencode(found["keystore"]) == keystore
    ours = of_manifest({"kind": "ConfigMap", "binaryData": {"keystore": data["keystore"]}})
    assert os.fsencode(ours["keystore"]) == keystore


def test_a_byte_that_no_variable_can_hold_is_told_of_who_reads_it() -> None:
    bindings = Bindings(secrets={"tls": {"p12": "a\0b", "pem": "x"}})
    assert bindings.missing(definition(task("a", env=[secret_env("tls", "pem")]))) == []
    for needs in ({"env": [secret_env("tls", "p12")]}, {"envFrom": [{"secretRef": {"name": "tls"}}]}):
        (problem,) = bindings.missing(definition(task("a", **needs)))
        assert "contains a NUL byte" in problem.message


def test_a_config_map_is_taken_as_it_stands() -> None:
    assert of_manifest({"kind": "ConfigMap", "data": {"a": "eA=="}}) == {"a": "eA=="}


@pytest.mark.parametrize(
    "body", [{"kind": "Secret", "data": {"key": "not base64!"}}, {"kind": "ConfigMap", "data": {"key": 3}}]
)
def test_an_entry_that_cannot_be_taken_is_named(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"data\.key"):
        of_manifest(body)


def test_what_is_missing_is_named_with_its_task_and_the_flag_that_gives_it() -> None:
    needs = definition(
        task("a", env=[secret_env("api", "token")]),
        task("b", envFrom=[{"secretRef": {"name": "db"}}, {"configMapRef": {"name": "common"}}]),
        task("c", sql={"connection": {"secretKeyRef": {"name": "warehouse", "key": "url"}}, "query": "select 1"}),
        task("d", env=[secret_env("api", "token", optional=True)]),
    )
    found = {problem.task: [] for problem in Bindings().missing(needs)}
    for problem in Bindings().missing(needs):
        found[problem.task].append(problem.message)
    assert set(found) == {"a", "b", "c"}
    assert "--secret api/token=env:VARIABLE" in found["a"][0]
    assert "--secret db/KEY=" in found["b"][0]
    assert "ConfigMap common is missing: put the ConfigMap into the file" in found["b"][1]
    assert "--secret warehouse/url=" in found["c"][0]
    given_all = Bindings(
        secrets={"api": {"token": ""}, "db": {}, "warehouse": {"url": "x"}}, config_maps={"common": {}}
    )
    assert given_all.missing(needs) == []


def test_a_key_that_a_known_secret_does_not_have_is_missing_too() -> None:
    needs = definition(task("a", env=[secret_env("api", "tokn")]))
    (problem,) = Bindings(secrets={"api": {"token": "x"}}).missing(needs)
    assert "Secret api/tokn is missing" in problem.message


# The kubelet's own cases (third_party/forked/golang/expansion/expand_test.go)
@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)-1", "A-1"),
        ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$", "$$"),
        ("$VAR_A", "$VAR_A"),
        ("$(DNE)", "$(DNE)"),
        ("$(VAR_A", "$(VAR_A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("$()", "$()"),
    ],
)
def test_references_are_resolved_as_the_kubelet_does(text: str, expanded: str) -> None:
    assert expand(text, {"VAR_A": "A", "VAR_B": "B", "VAR_REF": "$(VAR_A)"}) == expanded


@given(st.text())
def test_a_value_with_its_dollars_doubled_comes_out_as_it_was(value: str) -> None:
    assert expand(value.replace("$", "$$"), {"A": "x", "": "y"}) == value
