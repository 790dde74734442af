"""What the engine relies on of an API server, asked of the fake and of a real one alike."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from tests.contract.servers import Server

from nexus.adapters.kube.client.api import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    EVENTS,
    JOBS,
    SELF_SUBJECT_REVIEWS,
    WORKFLOW_RUNS,
    WORKFLOWS,
    AlreadyExists,
    BadRequest,
    Conflict,
    Invalid,
    KubeApi,
    NotFound,
    Object,
    TooLarge,
    WatchEvent,
)


def config_map(name: str, **more: Any) -> Object:
    """A ConfigMap with one key."""
    return {"metadata": {"name": name}, "data": {"key": "value"}, **more}


def run(name: str) -> Object:
    """The smallest WorkflowRun."""
    return {"metadata": {"name": name}, "spec": {"workflowRef": {"name": "sales"}}}


def workflow(name: str) -> Object:
    """The smallest Workflow."""
    return {"metadata": {"name": name}, "spec": {"tasks": [{"name": "a", "bash": {"command": "true"}}]}}


def owned_by(owner: Object) -> list[Object]:
    """The ownerReferences of something this object owns."""
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    return [{**reference, "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": True}]


async def test_the_server_says_who_asks(api: KubeApi) -> None:
    review = await api.create(SELF_SUBJECT_REVIEWS, "", {"metadata": {}})

    assert review["status"]["userInfo"]["username"]


# -- names and versions ------------------------------------------------------------------------------------------------


async def test_create_answers_with_what_the_server_added(api: KubeApi, namespace: str) -> None:
    body = config_map("a")
    made = await api.create(CONFIG_MAPS, namespace, body)
    metadata = made["metadata"]
    assert (made["apiVersion"], made["kind"], metadata["namespace"]) == ("v1", "ConfigMap", namespace)
    assert int(metadata["resourceVersion"]) > 0
    assert len(metadata["uid"]) == 36
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert "generation" not in metadata
    assert await api.get(CONFIG_MAPS, namespace, "a") == made
    assert body == config_map("a")


async def test_what_is_not_there_is_not_found(api: KubeApi, namespace: str) -> None:
    with pytest.raises(NotFound) as caught:
        await api.get(JOBS, namespace, "nope")
    assert (caught.value.status, caught.value.reason, caught.value.name) == (404, "NotFound", "nope")
    assert caught.value.message == 'jobs.batch "nope" not found'
    with pytest.raises(NotFound):
        await api.patch(CONFIG_MAPS, namespace, "nope", {"data": {"a": "b"}})
    with pytest.raises(NotFound):
        await api.delete(CONFIG_MAPS, namespace, "nope", None)


async def test_a_name_that_is_taken_is_told_apart_from_other_conflicts(api: KubeApi, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("a"))
    with pytest.raises(AlreadyExists) as caught:
        await api.create(CONFIG_MAPS, namespace, config_map("a"))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")
    assert caught.value.message == 'configmaps "a" already exists'


async def test_generate_name_makes_names_that_differ(api: KubeApi, namespace: str) -> None:
    body = {"metadata": {"generateName": "sales-"}}
    names = [(await api.create(CONFIG_MAPS, namespace, body))["metadata"]["name"] for _ in range(2)]
    assert names[0] != names[1]
    assert all(re.fullmatch("sales-[a-z0-9]{5}", name) for name in names)


@pytest.mark.parametrize("name", ["Sales", "sales_1", "-sales", "s" * 254])
async def test_a_name_that_is_no_dns_subdomain_is_invalid(api: KubeApi, namespace: str, name: str) -> None:
    with pytest.raises(Invalid, match=r"metadata\.name: Invalid value"):
        await api.create(CONFIG_MAPS, namespace, config_map(name))


async def test_another_namespace_in_the_body_is_refused(api: KubeApi, namespace: str) -> None:
    body = {"metadata": {"name": "a", "namespace": "elsewhere"}}
    with pytest.raises(BadRequest, match="does not match the namespace sent on the request"):
        await api.create(CONFIG_MAPS, namespace, body)


async def test_a_label_too_long_is_invalid(api: KubeApi, namespace: str) -> None:
    with pytest.raises(Invalid, match=r"metadata\.labels: Invalid value"):
        await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "a", "labels": {"x": "y" * 64}}})


# -- patches -----------------------------------------------------------------------------------------------------------


async def test_a_merge_patch_merges_objects_replaces_lists_and_removes_with_null(api: KubeApi, namespace: str) -> None:
    body = {"metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "data": {"one": "1", "two": "2"}}
    await api.create(CONFIG_MAPS, namespace, body)
    patch = {"metadata": {"labels": {"x": None, "z": "3"}}, "data": {"two": "zwei", "one": None}}
    patched = await api.patch(CONFIG_MAPS, namespace, "a", patch)
    assert patched["metadata"]["labels"] == {"y": "2", "z": "3"}
    assert patched["data"] == {"two": "zwei"}
    assert await api.get(CONFIG_MAPS, namespace, "a") == patched


async def test_a_stale_resource_version_is_a_conflict_and_changes_nothing(api: KubeApi, namespace: str) -> None:
    first = await api.create(CONFIG_MAPS, namespace, config_map("a"))
    second = await api.patch(CONFIG_MAPS, namespace, "a", {"data": {"key": "second"}})
    version = {"resourceVersion": first["metadata"]["resourceVersion"]}
    with pytest.raises(Conflict, match="the object has been modified") as caught:
        await api.patch(CONFIG_MAPS, namespace, "a", {"metadata": version, "data": {"key": "third"}})
    assert not isinstance(caught.value, AlreadyExists)
    assert await api.get(CONFIG_MAPS, namespace, "a") == second


async def test_another_uid_in_a_patch_is_invalid(api: KubeApi, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("a"))
    other = {"metadata": {"uid": "00000000-0000-4000-8000-000000000000"}, "data": {"key": "x"}}
    with pytest.raises(Invalid, match=r"metadata\.uid: .* field is immutable"):
        await api.patch(CONFIG_MAPS, namespace, "a", other)


async def test_a_patch_that_changes_nothing_makes_no_new_version(api: KubeApi, namespace: str) -> None:
    made = await api.create(WORKFLOW_RUNS, namespace, run("a"))
    status = {"status": {"phase": "Running"}}
    once = await api.patch_status(WORKFLOW_RUNS, namespace, "a", status)
    twice = await api.patch_status(WORKFLOW_RUNS, namespace, "a", status)
    versions = [body["metadata"]["resourceVersion"] for body in (made, once, twice)]
    assert versions[0] != versions[1] == versions[2]


async def test_status_and_spec_are_written_apart(api: KubeApi, namespace: str) -> None:
    made = await api.create(WORKFLOWS, namespace, {**workflow("a"), "status": {"observedGeneration": 7}})
    assert "status" not in made
    patch = {"metadata": {"labels": {"x": "y"}}, "spec": {"maxParallelTasks": 2}, "status": {"observedGeneration": 1}}
    with_status = await api.patch_status(WORKFLOWS, namespace, "a", patch)
    assert with_status["status"] == {"observedGeneration": 1}
    assert "maxParallelTasks" not in with_status["spec"]
    assert "labels" not in with_status["metadata"]
    patch = {"spec": {"maxParallelTasks": 2}, "status": {"observedGeneration": 2}}
    with_spec = await api.patch(WORKFLOWS, namespace, "a", patch)
    assert with_spec["spec"]["maxParallelTasks"] == 2
    assert with_spec["status"] == {"observedGeneration": 1}


async def test_the_generation_counts_changes_of_the_spec_alone(api: KubeApi, namespace: str) -> None:
    generations = [(await api.create(WORKFLOWS, namespace, workflow("a")))["metadata"]["generation"]]
    more: Object = {"spec": {"maxParallelTasks": 2}}
    patches = ({"metadata": {"labels": {"x": "y"}}}, more, more)
    generations += [(await api.patch(WORKFLOWS, namespace, "a", patch))["metadata"]["generation"] for patch in patches]
    patched = await api.patch_status(WORKFLOWS, namespace, "a", {"status": {"observedGeneration": 2}})
    generations.append(patched["metadata"]["generation"])
    assert generations == [1, 1, 2, 2, 2]


async def test_a_status_write_with_a_stale_version_is_a_conflict(api: KubeApi, namespace: str) -> None:
    first = await api.create(WORKFLOW_RUNS, namespace, run("a"))
    patch = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "status": {"phase": "Running"}}
    await api.patch_status(WORKFLOW_RUNS, namespace, "a", patch)
    with pytest.raises(Conflict):
        await api.patch_status(WORKFLOW_RUNS, namespace, "a", {**patch, "status": {"phase": "Failed"}})
    assert (await api.get(WORKFLOW_RUNS, namespace, "a"))["status"] == {"phase": "Running"}


async def test_a_replaced_status_is_the_new_one_alone_with_its_nulls(api: KubeApi, namespace: str) -> None:
    made = await api.create(WORKFLOW_RUNS, namespace, run("a"))
    version = {"resourceVersion": made["metadata"]["resourceVersion"], "uid": made["metadata"]["uid"]}
    await api.replace_status(WORKFLOW_RUNS, namespace, "a", {"metadata": version, "status": {"phase": "Running"}})
    with pytest.raises(Conflict):
        await api.replace_status(WORKFLOW_RUNS, namespace, "a", {"metadata": version, "status": {}})
    task = {"name": "t", "phase": "Succeeded", "output": {"a": None, "b": [None, {"c": None}]}}
    known = await api.get(WORKFLOW_RUNS, namespace, "a")
    body = {"metadata": {"resourceVersion": known["metadata"]["resourceVersion"]}, "status": {"tasks": [task]}}
    replaced = await api.replace_status(WORKFLOW_RUNS, namespace, "a", body)
    assert replaced["status"] == {"tasks": [task]}
    assert replaced["spec"] == made["spec"]
    other = {"resourceVersion": replaced["metadata"]["resourceVersion"], "uid": "00000000-0000-4000-8000-000000000000"}
    with pytest.raises(Conflict):
        await api.replace_status(WORKFLOW_RUNS, namespace, "a", {"metadata": other, "status": {}})
    with pytest.raises(Invalid, match="must be specified for an update"):
        await api.replace_status(WORKFLOW_RUNS, namespace, "a", {"metadata": {}, "status": {}})


async def test_a_kind_without_status_has_no_status_to_patch(api: KubeApi, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("a"))
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await api.patch_status(CONFIG_MAPS, namespace, "a", {"status": {}})


async def test_an_immutable_config_map_stays_as_it_is(api: KubeApi, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("a", immutable=True))
    for patch in ({"data": {"key": "other"}}, {"immutable": None}):
        with pytest.raises(Invalid, match="field is immutable when `immutable` is set"):
            await api.patch(CONFIG_MAPS, namespace, "a", patch)
    assert (await api.patch(CONFIG_MAPS, namespace, "a", {"metadata": {"labels": {"x": "y"}}}))["immutable"] is True


# -- sizes -------------------------------------------------------------------------------------------------------------


async def test_a_config_map_holds_one_mebibyte(api: KubeApi, namespace: str) -> None:
    fits = {"metadata": {"name": "a"}, "data": {"key": "x" * 1024 * 1024}}
    assert (await api.create(CONFIG_MAPS, namespace, fits))["metadata"]["name"] == "a"
    with pytest.raises(Invalid, match="Too long: may not be more than 1048576 bytes"):
        await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": "b"}, "data": {"key": "x" * (1024 * 1024 + 1)}})


@pytest.mark.parametrize("mebibytes", [1.75, 2.5, 3.5])
async def test_what_etcd_or_the_server_cannot_take_is_too_large(api: KubeApi, namespace: str, mebibytes: float) -> None:
    revision = {"metadata": {"name": "a"}, "revision": 1, "data": {"text": "x" * int(mebibytes * 1024 * 1024)}}
    with pytest.raises(TooLarge):
        await api.create(CONTROLLER_REVISIONS, namespace, revision)


# -- lists and watches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("", "abcd"),
        ("run=r1", "ab"),
        ("run==r1,task=t2", "b"),
        ("run!=r1", "cd"),
        ("task", "abc"),
        ("!task", "d"),
        ("task in (t1, t2)", "abc"),
        ("task notin (t1)", "bd"),
        ("run in (r1,r2),task=t1", "ac"),
    ],
)
async def test_label_selectors_select(api: KubeApi, namespace: str, selector: str, names: str) -> None:
    labels = {
        "a": {"run": "r1", "task": "t1"},
        "b": {"run": "r1", "task": "t2"},
        "c": {"run": "r2", "task": "t1"},
        "d": {},
    }
    for name, pairs in labels.items():
        await api.create(CONFIG_MAPS, namespace, {"metadata": {"name": name, "labels": pairs}})
    found = await api.list(CONFIG_MAPS, namespace, selector)
    # A real namespace gets a ConfigMap with the cluster's CA sooner or later.
    assert [body["metadata"]["name"] for body in found if body["metadata"]["name"] in labels] == list(names)
    assert all((body["apiVersion"], body["kind"]) == ("v1", "ConfigMap") for body in found)
    assert int(found.resource_version) > 0


async def test_a_selector_without_sense_is_a_bad_request(api: KubeApi, namespace: str) -> None:
    with pytest.raises(BadRequest):
        await api.list(CONFIG_MAPS, namespace, "run=(")
    with pytest.raises(BadRequest, match="field"):
        await api.list(CONFIG_MAPS, namespace, field_selector="data.key=value")


async def test_events_are_found_by_what_they_are_about(api: KubeApi, namespace: str) -> None:
    for name, uid, reason in (("e1", "u1", "Started"), ("e2", "u1", "Failed"), ("e3", "u2", "Failed")):
        about = {"kind": "Job", "namespace": namespace, "name": "j", "uid": uid}
        body = {"metadata": {"name": name}, "involvedObject": about, "reason": reason, "message": "m", "type": "Normal"}
        await api.create(EVENTS, namespace, body)
    found = await api.list(EVENTS, namespace, field_selector="involvedObject.uid=u1,reason=Failed")
    assert [body["metadata"]["name"] for body in found] == ["e2"]


async def test_a_list_comes_whole_however_many_pages_it_has(api: KubeApi, namespace: str) -> None:
    many = 620  # more than the client asks for at once
    await asyncio.gather(
        *(
            api.create(CONFIG_MAPS, namespace, {"metadata": {"name": f"m{number}", "labels": {"many": "yes"}}})
            for number in range(many)
        )
    )
    found = await api.list(CONFIG_MAPS, namespace, "many=yes")
    assert {body["metadata"]["name"] for body in found} == {f"m{number}" for number in range(many)}
    assert len(found) == many
    assert await api.uids(CONFIG_MAPS, namespace, "many=yes") == {body["metadata"]["uid"] for body in found}
    assert {body["metadata"]["uid"] for body in found} <= await api.uids(CONFIG_MAPS, namespace)
    assert await api.uids(CONFIG_MAPS, namespace, "many=no") == set()


async def test_a_watch_goes_on_where_a_list_ended(api: KubeApi, namespace: str) -> None:
    await api.create(CONFIG_MAPS, namespace, config_map("before"))
    listed = await api.list(CONFIG_MAPS, namespace)
    body = {"metadata": {"name": "a", "labels": {"mine": "yes"}}}
    await api.create(CONFIG_MAPS, namespace, config_map("other"))
    await api.create(CONFIG_MAPS, namespace, body)
    await api.patch(CONFIG_MAPS, namespace, "a", {"data": {"key": "new"}})
    seen: list[WatchEvent] = []
    async with asyncio.timeout(10):
        async for event in api.watch(CONFIG_MAPS, namespace, "mine=yes", listed.resource_version):
            seen.append(event)
            if len(seen) == 2:
                # It leaves the selection: for this watch that is a deletion.
                await api.patch(CONFIG_MAPS, namespace, "a", {"metadata": {"labels": {"mine": "no"}}})
            if len(seen) == 3:
                break
    assert [(event.type, event.object["metadata"]["name"]) for event in seen] == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    versions = [int(event.object["metadata"]["resourceVersion"]) for event in seen]
    assert versions == sorted(set(versions))


async def test_a_watch_from_nowhere_begins_with_all_there_is(api: KubeApi, namespace: str) -> None:
    for name in ("a", "b"):
        await api.create(WORKFLOW_RUNS, namespace, run(name))
    seen = []
    async with asyncio.timeout(10):
        async for event in api.watch(WORKFLOW_RUNS, namespace):
            seen.append((event.type, event.object["metadata"]["name"]))
            if len(seen) == 2:
                break
    assert sorted(seen) == [("ADDED", "a"), ("ADDED", "b")]


# -- deletion ----------------------------------------------------------------------------------------------------------


async def test_a_delete_that_names_another_uid_deletes_nothing(api: KubeApi, namespace: str) -> None:
    old = await api.create(CONFIG_MAPS, namespace, config_map("a"))
    await api.delete(CONFIG_MAPS, namespace, "a", old["metadata"]["uid"])
    new = await api.create(CONFIG_MAPS, namespace, config_map("a"))
    with pytest.raises(Conflict, match="the UID in the precondition"):
        await api.delete(CONFIG_MAPS, namespace, "a", old["metadata"]["uid"])
    assert await api.get(CONFIG_MAPS, namespace, "a") == new
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


async def test_what_an_owner_owned_goes_after_it(api: KubeApi, namespace: str, server: Server) -> None:
    owner = await api.create(WORKFLOW_RUNS, namespace, run("owner"))
    child = await api.create(
        CONFIG_MAPS, namespace, {"metadata": {"name": "child", "ownerReferences": owned_by(owner)}}
    )
    body = {"metadata": {"name": "grandchild", "ownerReferences": owned_by(child)}}
    await api.create(CONFIG_MAPS, namespace, body)
    await api.create(CONFIG_MAPS, namespace, config_map("stranger"))
    await api.delete(WORKFLOW_RUNS, namespace, "owner", owner["metadata"]["uid"])

    async def left() -> bool:
        names = {body["metadata"]["name"] for body in await api.list(CONFIG_MAPS, namespace)}
        return not names & {"child", "grandchild"}

    assert await server.eventually(left)
    assert (await api.get(CONFIG_MAPS, namespace, "stranger"))["data"] == {"key": "value"}


async def test_what_is_made_for_an_owner_that_is_gone_goes_too(api: KubeApi, namespace: str, server: Server) -> None:
    owner = await api.create(WORKFLOW_RUNS, namespace, run("owner"))
    await api.delete(WORKFLOW_RUNS, namespace, "owner", None)
    body = {"metadata": {"name": "late", "ownerReferences": owned_by(owner)}}
    await api.create(CONFIG_MAPS, namespace, body)

    async def gone() -> bool:
        try:
            await api.get(CONFIG_MAPS, namespace, "late")
        except NotFound:
            return True
        return False

    assert await server.eventually(gone)


# -- Jobs as objects ---------------------------------------------------------------------------------------------------


def job(name: str, **spec: Any) -> Object:
    """A Job that never runs anything: suspended."""
    container = {"name": "task", "image": "busybox"}
    pod = {"metadata": {"labels": {"mine": "yes"}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    return {"metadata": {"name": name, "labels": {"x": "y"}}, "spec": {"suspend": True, "template": pod, **spec}}


async def test_a_job_gets_its_defaults_and_a_selector_of_its_uid(api: KubeApi, namespace: str) -> None:
    made = await api.create(JOBS, namespace, job("a"))
    spec, uid = made["spec"], made["metadata"]["uid"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 6)
    assert (spec["completionMode"], spec["podReplacementPolicy"]) == ("NonIndexed", "TerminatingOrFailed")
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert spec["template"]["metadata"]["labels"] == {
        "mine": "yes",
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "a",
        "controller-uid": uid,
        "job-name": "a",
    }
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert (made["metadata"]["labels"], made["metadata"]["generation"], made["status"]) == ({"x": "y"}, 1, {})


async def test_a_pod_failure_policy_makes_failed_the_replacement_policy(api: KubeApi, namespace: str) -> None:
    rule = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    made = await api.create(JOBS, namespace, job("a", podFailurePolicy={"rules": [rule]}))
    assert made["spec"]["podReplacementPolicy"] == "Failed"
    with pytest.raises(Invalid, match=r"spec\.podReplacementPolicy"):
        await api.create(
            JOBS,
            namespace,
            job("b", podFailurePolicy={"rules": [rule]}, podReplacementPolicy="TerminatingOrFailed"),
        )


async def test_a_jobs_name_has_to_fit_a_label(api: KubeApi, namespace: str) -> None:
    assert (await api.create(JOBS, namespace, job("j" * 63)))["metadata"]["name"] == "j" * 63
    with pytest.raises(Invalid, match="labels"):
        await api.create(JOBS, namespace, job("j" * 64))


async def test_a_jobs_template_is_immutable(api: KubeApi, namespace: str) -> None:
    await api.create(JOBS, namespace, job("a"))
    image = {"containers": [{"name": "task", "image": "other"}]}
    with pytest.raises(Invalid, match="field is immutable"):
        await api.patch(JOBS, namespace, "a", {"spec": {"template": {"spec": image}}})
    patched = await api.patch(JOBS, namespace, "a", {"spec": {"backoffLimit": 2}})
    assert (patched["spec"]["backoffLimit"], patched["metadata"]["generation"]) == (2, 2)


async def test_a_job_without_a_restart_policy_for_jobs_is_invalid(api: KubeApi, namespace: str) -> None:
    body = job("a")
    del body["spec"]["template"]["spec"]["restartPolicy"]
    with pytest.raises(Invalid, match=r"spec\.template\.spec\.restartPolicy"):
        await api.create(JOBS, namespace, body)


# -- logs --------------------------------------------------------------------------------------------------------------


async def test_logs_of_a_pod_that_is_not_there_are_not_found(api: KubeApi, namespace: str) -> None:
    with pytest.raises(NotFound):
        await api.logs(namespace, "nope")
