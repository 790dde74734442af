"""Bringing the cluster up, taking it down, and asking how it is."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from nexus_cluster import api, control_plane, daemons, images, kind, kwok, machine, node, pki, programs
from nexus_cluster.images import Image
from nexus_cluster.settings import Flavor, Settings
from nexus_cluster.shell import Failed, Refused, say, wait_until


def up(settings: Settings) -> None:
    """Start the cluster, or verify the one that runs, and load the task images; return when pods can be created.

    Raises Refused if another checkout owns it, Failed if it runs but is not healthy.
    """
    refuse_if_foreign(settings)
    if settings.ready.exists() and _alive(settings):
        broken = [part for part, health in status(settings).items() if health != "healthy"]
        if broken:
            raise Failed(
                f"the cluster runs, but not healthy are: {', '.join(broken)}; see {settings.logs}, or run down, then up"
            )
        load(settings, _images(settings))
        say("the cluster is up already")
        return
    # A killed `up` or a reboot of the machine left this behind.
    down(settings)
    settings.state.mkdir(parents=True)
    settings.owner.write_text(str(settings.repository))
    try:
        _start(settings)
    except Refused:
        # Nothing runs yet, and nothing may be left that looks as if it did.
        down(settings)
        raise
    except (Failed, OSError):
        say(f"the cluster did not start; the logs are in {settings.logs}, and `down` cleans up")
        raise
    settings.ready.touch()


def down(settings: Settings) -> None:
    """End the cluster and remove all it has made but the cache, also after an `up` that was killed half-way."""
    refuse_if_foreign(settings)
    if settings.flavor is Flavor.KIND:
        kind.delete(settings)
    daemons.stop(settings, first="node")
    if settings.flavor is Flavor.NODE:
        machine.clean_up(settings)
    shutil.rmtree(settings.state, ignore_errors=True)
    shutil.rmtree(settings.scratch, ignore_errors=True)


def status(settings: Settings) -> dict[str, str]:
    """Return each part of the cluster with `healthy` or what is wrong with it."""
    if settings.flavor is Flavor.KIND:
        return {"kind": "healthy" if kind.exists(settings) else "not running"}
    if not settings.state.exists():
        return {"cluster": "not up"}
    own = node.COMPONENTS if settings.flavor is Flavor.NODE else kwok.COMPONENTS
    processes = daemons.running(settings)
    health = {name: "healthy" if name in processes else "not running" for name in (*control_plane.COMPONENTS, *own)}
    if health["kube-apiserver"] == "healthy" and not api.answers(settings, "/readyz"):
        health["kube-apiserver"] = "not ready"
    wanted = 1 if settings.flavor is Flavor.NODE else kwok.node_count(settings)
    ready = api.ready_nodes(settings) if health["kube-apiserver"] == "healthy" else []
    health["start-up"] = "healthy" if settings.ready.exists() else "not finished"
    health["nodes"] = "healthy" if len(ready) >= wanted else f"{len(ready)} of {wanted} Ready"
    return health


def load(settings: Settings, wanted: Iterable[Image]) -> None:
    """Build the images that changed, and put into the cluster those that it lacks or that changed."""
    if settings.flavor is Flavor.KIND:
        kind.load(settings, list(wanted))
    if settings.flavor is not Flavor.NODE:
        return
    enter = machine.enter_command(settings)
    if enter is None:
        raise Refused("the cluster is not up: run up first")
    _import(settings, enter, {image.name: images.archive(settings, image) for image in wanted})


def environment(settings: Settings) -> list[str]:
    """Return the lines of shell that let kubectl, the tests and the benchmarks use the cluster."""
    values = {
        "KUBECONFIG": settings.kubeconfig,
        "NEXUS_AUDIT_LOG": settings.audit_log,
        "NEXUS_CLUSTER_LOGS": settings.logs,
    }
    lines = [f"export {name}={shlex.quote(str(value))}" for name, value in values.items()]
    if settings.flavor is not Flavor.KIND:
        kubectl = shlex.quote(str(control_plane.build(settings)["kubectl"].parent))
        lines.append(f'export PATH={kubectl}:"$PATH"')
    return lines


def refuse_if_foreign(settings: Settings) -> None:
    """Raise Refused where the cluster runs and belongs to another checkout that still exists.

    One whose processes were killed with its session is nobody's, and in nobody's way.
    """
    if not settings.owner.exists() or not _alive(settings):
        return
    owner = Path(settings.owner.read_text())
    if owner != settings.repository and (owner / "tests" / "cluster").exists():
        raise Refused(
            f"the cluster belongs to the checkout in {owner}: run down there first, or use it as `env` there says"
        )


def _start(settings: Settings) -> None:
    if settings.flavor is Flavor.KIND:
        kind.start(settings)
        kind.load(settings, _images(settings))
        return
    if settings.flavor is Flavor.KWOK:
        pki.create(settings)
        kwok.start(settings)
    else:
        _start_node(settings)
    # Controllers create it a moment after the namespace, and no pod is admitted before.
    account = "/api/v1/namespaces/default/serviceaccounts/default"
    wait_until("the default service account", lambda: api.answers(settings, account), 60, settings.logs)


def _start_node(settings: Settings) -> None:
    programs.require_node_programs(settings)
    # All that takes long, and can fail for want of a network, before anything runs.
    paths = control_plane.build(settings)
    archives = {image.name: images.archive(settings, image) for image in _images(settings)}
    archives[node.PAUSE_IMAGE] = images.pause_archive(settings)
    pki.create(settings)
    enter = machine.create(settings)
    with ThreadPoolExecutor(max_workers=1) as background:
        imported: Future[None] = background.submit(_start_runtime, settings, enter, archives)
        control_plane.start(settings, paths, enter)
        imported.result()
    node.start(settings, paths, enter)


def _start_runtime(settings: Settings, enter: list[str], archives: dict[str, Path]) -> None:
    node.start_containerd(settings, enter)
    _import(settings, enter, archives)


def _import(settings: Settings, enter: list[str], archives: dict[str, Path]) -> None:
    """Import archives, but not those that are in: a record in the state tells which file each name came from."""
    record = settings.state / "images.json"
    have: dict[str, str] = json.loads(record.read_text()) if record.exists() else {}
    for name, archive in archives.items():
        if have.get(name) != archive.name:
            node.import_image(settings, enter, archive)
            have[name] = archive.name
            record.write_text(json.dumps(have, indent=1))


def _images(settings: Settings) -> list[Image]:
    return images.task_images(settings)


def _alive(settings: Settings) -> bool:
    return kind.exists(settings) if settings.flavor is Flavor.KIND else bool(daemons.running(settings))
