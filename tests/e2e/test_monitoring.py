"""A real Prometheus scrapes a real operator: every panel of the dashboard and every alert is asked of it.

Beside that operator it scrapes one on the fake cluster, where an hour passes in a moment: late schedules, missed ticks,
pods that wait.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml
from tests.builders import START
from tests.e2e import prometheus
from tests.e2e.conftest import operator_for
from tests.e2e.helm import CHART, Helm, cluster
from tests.e2e.prometheus import ALERTS, LOOPBACK, Prometheus, running_prometheus
from tests.e2e.space import Space, bash, container
from tests.operators import Operator
from tests.unit.test_ticks import HOUR, MINUTE, away, scheduled, until

from nexus.adapters.fake import Outcome
from nexus.adapters.prometheus import PrometheusStats
from nexus.app.gauges import readings
from nexus.app.watch_ages import WatchAges
from nexus.app.web import WebServer
from nexus.core.expressions.templates import Evaluator
from nexus.runtime.label_limit import LabelLimit
from nexus.runtime.queue import WorkQueue

pytestmark = pytest.mark.cluster

DASHBOARD = ALERTS.parent / "dashboard.json"
RULE_TESTS = Path(__file__).parent / "alerts.test.yaml"
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "30s", "$__range": "5m", "$namespace": ".*", "$workflow": ".*"}
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    for target in panel["targets"]
}
# No call failed, no look at a run did, and the operator is there: these are asked by promtool's tests alone.
QUIET = {"NexusOperatorDown", "NexusReconcilesFailing", "NexusApiErrors"}


@contextmanager
def served(stats: PrometheusStats) -> Iterator[int]:
    """The port where the metrics are answered, by the operator's own web server."""
    port, loop = prometheus.free_port(), asyncio.new_event_loop()
    server = WebServer(WatchAges("https://cluster.example", ()), stats.exposition)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(port), loop).result(10)
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def an_hour_that_goes_wrong(cel: Evaluator, stats: PrometheusStats) -> None:
    """Ticks that were dropped, one that was missed since nobody was there, a pod without a node, a late run."""
    every = {"name": "often", "cron": "*/10 * * * *", "startingDeadlineSeconds": 1_000}
    with scheduled(cel, every, concurrency={"policy": "Forbid"}) as told:
        told.cluster.script("a", Outcome.never_schedules())
        told.on_birth = lambda story: _instead(story.operators[-1], stats)
        told.operator()
        until(told, START + HOUR)
        away(told, 2 * HOUR + 15 * MINUTE)
        operator = told.operators[-1]
        stats.show(lambda: readings(operator.cache, operator.workflows, WorkQueue(), []))
    with scheduled(cel, {"name": "hourly", "cron": "@hourly", "startingDeadlineSeconds": 300}) as told:
        told.on_birth = lambda story: _instead(story.operators[-1], stats)
        told.operator()
        away(told, HOUR + 6 * MINUTE)
        other = told.operators[-1]
        both = (operator, other)
        stats.show(lambda: [r for each in both for r in readings(each.cache, each.workflows, WorkQueue(), [])])


def _instead(operator: Operator, stats: PrometheusStats) -> None:
    operator.reconciler.stats = operator.workflow_reconciler.stats = stats


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has seen runs, and the operator's port."""

    prometheus: Prometheus
    port: int


@pytest.fixture(scope="module")
def watched(space: Space, tmp_path_factory: pytest.TempPathFactory, cel: Evaluator) -> Iterator[Watched]:
    """The operator has run something, well and badly, while it was scraped."""
    folder, port, stats = tmp_path_factory.mktemp("monitoring"), prometheus.free_port(), PrometheusStats(LabelLimit())
    settings = {"NEXUS_HTTP_PORT": str(port)}
    with (
        operator_for(folder, space, settings=settings),
        served(stats) as fake,
        running_prometheus(folder, {"nexus": port, "fake": fake}) as server,
    ):
        flaky = bash("flaky", 'echo "$NEXUS_CONTEXT"; exit 1', retry={"limit": 1, "delaySeconds": 1})
        space.workflow("sales", container("first"), container("second", after=("first",)))
        space.workflow("broken", flaky, container("handler", after=("flaky",)))
        server.until('up{job="nexus"}')
        server.until('up{job="fake"}')
        for number in range(2):
            for workflow in ("sales", "broken"):
                space.run_of(workflow, f"{workflow}-{number}")
            for workflow in ("sales", "broken"):
                space.finished(f"{workflow}-{number}")
            an_hour_that_goes_wrong(cel, stats)
        server.until('workflow_executions_total{job="nexus", status="Failed"} == 2')
        server.until('nexus_ticks_missed_total{job="fake"}')
        yield Watched(server, port)


def test_what_ran_is_counted_once(watched: Watched, space: Space) -> None:
    def total(metric: str, **labels: str) -> float | None:
        selector = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        return watched.prometheus.value(f'sum({metric}{{job="nexus", {selector}}})')

    ours = {"namespace": space.namespace}
    assert total("workflow_executions_total", workflow="sales", status="Succeeded", **ours) == 2
    assert total("workflow_executions_total", workflow="broken", status="Failed", **ours) == 2
    assert total("workflow_execution_duration_seconds_count", workflow="sales", **ours) == 2
    assert total("task_executions_total", workflow="sales", status="Succeeded", type="container") == 4
    assert total("task_executions_total", workflow="broken", status="Omitted", task="handler") == 2
    assert total("task_retries_total", workflow="broken", task="flaky", type="bash") == 2
    assert total("nexus_task_failures_total", reason="TaskError", **ours) == 2
    assert total("active_workflows") in (None, 0)


@pytest.mark.parametrize("panel", QUERIES)
def test_every_panel_of_the_dashboard_has_data(watched: Watched, panel: str) -> None:
    query = QUERIES[panel]
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    found = watched.prometheus.query(query)
    assert found, query
    assert any(sample["value"][1] != "NaN" for sample in found), query


def test_the_success_rate_is_that_of_the_runs(watched: Watched, space: Space) -> None:
    query = QUERIES["Success rate A"]
    for name, value in (VARIABLES | {"$namespace": space.namespace}).items():
        query = query.replace(name, value)
    rate = watched.prometheus.value(query)
    assert rate == pytest.approx(0.5, abs=0.01)


def test_alerts_ask_for_what_there_is_and_those_fire_that_should(watched: Watched) -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    for rule in rules:
        # However much there is of it: whether there is anything at all.
        found = watched.prometheus.query(re.sub(r"> [\d.]+", ">= 0", rule["expr"]))
        assert bool(found) != (rule["alert"] in QUIET), rule["alert"]
    # Whether runs were late depends on how long the real ones took meanwhile.
    expected = {"NexusRunsFailing", "NexusScheduleDidNotRun", "NexusTicksMissed", "NexusPodsCannotStart"}
    assert watched.prometheus.firing() == expected | ({"NexusSchedulesLate"} & watched.prometheus.firing())


def test_promtool_finds_nothing_wrong_and_each_alert_fires_when_it_should(watched: Watched, tmp_path: Path) -> None:
    promtool = prometheus.programs() / "promtool"

    def run(*words: str, text: str | None = None) -> str:
        done = subprocess.run([promtool, *words], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("check", "rules", str(ALERTS))
    tests = RULE_TESTS.read_text("utf-8").replace("alerts.yaml", str(ALERTS))
    (tmp_path / "alerts.test.yaml").write_text(tests)
    run("test", "rules", str(tmp_path / "alerts.test.yaml"))
    text = httpx.get(f"http://{LOOPBACK}:{watched.port}/metrics").text
    assert "promtool" not in run("check", "metrics", text=text)


def test_the_chart_installs_the_same_alerts_and_the_same_dashboard(tmp_path: Path) -> None:
    helm = Helm(cluster("helm").strip())
    assert not [
        found for found in helm.template() if found["kind"] in ("PodMonitor", "ServiceMonitor", "PrometheusRule")
    ]
    values = CHART / "ci" / "monitoring-values.yaml"
    found = {body["kind"]: body for body in helm.template("--values", str(values))}
    assert found["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    assert (
        found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
        <= found["Service"]["metadata"]["labels"].items()
    )
    assert json.loads(found["ConfigMap"]["data"]["nexus.json"]) == json.loads(DASHBOARD.read_text("utf-8"))

    # The values leave one alert out, and add a label and a link to each.
    ours = {rule["alert"]: rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    del ours["NexusSchedulesLate"]
    spec = found["PrometheusRule"]["spec"]
    theirs = {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}
    assert {name: rule["expr"] for name, rule in theirs.items()} == {name: rule["expr"] for name, rule in ours.items()}
    assert {rule["labels"]["team"] for rule in theirs.values()} == {"platform"}
    links = [rule["annotations"]["runbook_url"].rpartition("#")[2] for rule in theirs.values()]
    assert links == [name.lower() for name in theirs]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    subprocess.run([prometheus.programs() / "promtool", "check", "rules", str(tmp_path / "rules.yaml")], check=True)
