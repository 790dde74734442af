"""Definitions: defaults by field, lists by name, the task wins; order and ancestors."""

from __future__ import annotations

from typing import Any

from tests.builders import chain, definition, fan, task

from nexus.api.tasks import EnvVar, TriggerRule
from nexus.core.model.definition import Node
from nexus.core.model.retry import RetryPolicy


def node(defaults: dict[str, Any] | None = None, **fields: Any) -> Node:
    return definition(task("t", **fields), defaults=defaults).nodes["t"]


def names_and_values(env: list[EnvVar] | None) -> dict[str, str | None]:
    return {variable.name: variable.value for variable in env or ()}


def test_a_task_that_says_nothing_takes_every_default() -> None:
    plain = node({"retry": {"limit": 3, "delaySeconds": 60}, "timeoutSeconds": 300})

    assert plain.retry == RetryPolicy(limit=3, delay_seconds=60)
    assert plain.task.timeout_seconds == 300


def test_retry_is_merged_field_by_field() -> None:
    own = node({"retry": {"limit": 3, "delaySeconds": 60, "factor": 3}}, retry={"limit": 0, "failOnExitCodes": [3]})

    assert own.retry == RetryPolicy(limit=0, delay_seconds=60, factor=3, fail_on_exit_codes=(3,))


def test_retry_on_of_the_defaults_is_for_http_tasks_alone() -> None:
    defaults = {"retry": {"limit": 3, "retryOn": ["5xx", 429]}}

    assert node(defaults).retry.retry_on == ()
    assert node(defaults).retry.limit == 3
    asked = definition(task("t", http={"url": "http://orders.example"}), defaults=defaults).nodes["t"]
    assert asked.retry.retry_on == ("5xx", 429)
    own = task("t", http={"url": "http://orders.example"}, retry={"retryOn": ["network"]})
    assert definition(own, defaults=defaults).nodes["t"].retry.retry_on == ("network",)


def test_the_tasks_own_timeout_wins() -> None:
    assert node({"timeoutSeconds": 300}, timeoutSeconds=5).task.timeout_seconds == 5


def test_env_is_merged_by_name_with_the_defaults_first() -> None:
    merged = node(
        {"env": [{"name": "A", "value": "default"}, {"name": "B", "value": "default"}]},
        env=[{"name": "C", "value": "own"}, {"name": "A", "value": "own"}],
    )

    # The order matters: $(NAME) in a value refers to variables before it.
    assert list(names_and_values(merged.task.env).items()) == [("B", "default"), ("C", "own"), ("A", "own")]


def test_env_from_of_the_defaults_comes_before_the_tasks_own() -> None:
    merged = node({"envFrom": [{"secretRef": {"name": "a"}}]}, envFrom=[{"configMapRef": {"name": "b"}}])

    refs = [source.secret_ref or source.config_map_ref for source in merged.task.env_from or ()]
    assert [ref.name for ref in refs if ref] == ["a", "b"]


def test_without_defaults_a_task_is_as_it_is_written() -> None:
    plain = node()

    assert (plain.rule, plain.retry, plain.start_timeout_seconds) == (TriggerRule.ALL_SUCCEEDED, RetryPolicy(), 300)
    assert plain.task.env is None
    assert node(startTimeoutSeconds=5).start_timeout_seconds == 5


def test_dependencies_come_first_whatever_the_order_in_the_file() -> None:
    prepared = definition(task("c", "b"), task("b", "a"), task("a"), task("d", "a", "c"))

    assert list(prepared.nodes) == ["a", "b", "c", "d"]
    assert prepared.nodes["d"].ancestors == {"a", "b", "c"}
    assert prepared.nodes["a"].ancestors == frozenset()


def test_tasks_that_do_not_depend_on_each_other_stay_in_the_order_of_the_file() -> None:
    assert list(fan(30).nodes) == [f"t{number}" for number in range(30)]


def test_the_largest_chain_is_prepared() -> None:
    assert len(chain(500).nodes["t499"].ancestors) == 499


def test_at_most_ten_pods_at_a_time_unless_the_workflow_says_otherwise() -> None:
    assert fan(2).max_parallel_tasks == 10
    assert fan(2, maxParallelTasks=3).max_parallel_tasks == 3
