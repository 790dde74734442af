"""What a new leader looks at first."""

from __future__ import annotations

from nexus.adapters.kube.cache.records import RunRecord, run_record
from nexus.app.takeover import NEWS_SECONDS, News
from nexus.runtime.ports import RunKey


def key(name: str) -> RunKey:
    return RunKey("default", name)


def runs(*names: str, ended: tuple[str, ...] = ()) -> dict[RunKey, RunRecord]:
    """Runs in a cache, in this order."""
    found = {}
    for name in names:
        metadata = {
            "name": name,
            "namespace": "default",
            "uid": name,
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T09:00:00Z",
        }
        phase = "Succeeded" if name in ended else "Running"
        found[key(name)] = run_record({"metadata": metadata, "spec": {}, "status": {"phase": phase}})
    return found


def names(news: News, known: dict[RunKey, RunRecord], now: float) -> list[str]:
    return [each.name for each in news.first(known, now)]


def test_news_come_first_then_what_is_under_way_then_what_has_ended() -> None:
    news = News()
    news.note(key("d"), 100)
    news.note(key("e"), 101)
    assert names(news, runs("a", "b", "c", "d", "e", ended=("a", "e")), 110) == ["d", "e", "b", "c", "a"]


def test_what_happened_twice_is_as_new_as_its_last_time() -> None:
    news = News()
    for number, name in enumerate(("a", "b", "a")):
        news.note(key(name), 100 + number)
    assert names(news, runs("a", "b", "c"), 110) == ["b", "a", "c"]


def test_old_news_are_none_and_a_replica_that_stands_by_for_days_does_not_keep_them() -> None:
    news = News()
    for number in range(10_000):
        news.note(key(f"old-{number}"), float(number))
    assert len(news._told) <= NEWS_SECONDS + 1
    assert names(news, runs("a", "old-9999"), 10_000 + NEWS_SECONDS) == ["a", "old-9999"]


def test_what_is_gone_is_not_looked_at() -> None:
    news = News()
    news.note(key("gone"), 100)
    assert names(news, runs("a"), 101) == ["a"]
