"""The command line: up, down, env, status, load, postgres, prometheus, helm, s3."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from nexus_cluster import images, lifecycle, programs
from nexus_cluster.images import Image
from nexus_cluster.settings import Settings
from nexus_cluster.settings import load as load_settings
from nexus_cluster.shell import Failed, Refused, locked, say

DESCRIPTION = """\
A Kubernetes cluster on this machine, for the end-to-end tests and the benchmarks: kind where Docker runs; otherwise one
real node in namespaces of its own, built from Go modules (Linux, root). KWOK=1: played nodes instead, beside it,
without root.
"""


def main(arguments: list[str]) -> int:
    """Run one command; return the exit code: 0, 1 where something failed, 2 where the machine does not allow it."""
    options = _parser().parse_args(arguments)
    # iptables and others lie where a user's PATH does not lead.
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    try:
        return _dispatch(load_settings(), options)
    except Refused as error:
        say(f"refused: {error}")
        return 2
    except Failed as error:
        say(f"failed: {error}")
        return 1


def _dispatch(settings: Settings, options: argparse.Namespace) -> int:
    if options.command == "env":
        if not settings.ready.exists():
            raise Refused("the cluster is not up: run up first")
        print("\n".join(lifecycle.environment(settings)))
        return 0
    if options.command == "status":
        health = lifecycle.status(settings)
        for part, state in health.items():
            print(f"{part:26}{state}")
        print(f"{'logs':26}{settings.logs}")
        return 0 if set(health.values()) == {"healthy"} else 1
    began = time.monotonic()
    with locked(settings):
        if options.command == "up":
            lifecycle.up(settings)
            print(f"export KUBECONFIG={settings.kubeconfig}")
        elif options.command == "down":
            lifecycle.down(settings)
        elif options.command == "postgres":
            print(programs.postgres_programs(settings))
        elif options.command == "prometheus":
            print(programs.prometheus_programs(settings))
        elif options.command == "helm":
            print(programs.helm(settings))
        elif options.command == "s3":
            print(programs.build(settings, programs.S3_SERVER))
        else:
            named = [_image(word) for word in options.images]
            # Who names an image wants it there, whosever cluster it is.
            if not named:
                lifecycle.refuse_if_foreign(settings)
            lifecycle.load(settings, named or images.task_images(settings))
    say(f"{options.command}: done in {time.monotonic() - began:.1f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cluster.py", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it, or verify that it runs; prints the line that sets KUBECONFIG")
    commands.add_parser("down", help="end it and remove all it made but the cache of programs and images")
    commands.add_parser("env", help="print lines for a shell: KUBECONFIG, PATH (kubectl), the audit log, the logs")
    commands.add_parser("status", help="say which parts are healthy; exit code 1 if one is not")
    commands.add_parser("postgres", help="print the folder of PostgreSQL's programs, installing them if need be")
    commands.add_parser("prometheus", help="print the folder of prometheus and promtool, installing them if need be")
    commands.add_parser("helm", help="print the path of helm 3, building it if there is none")
    commands.add_parser("s3", help="print the folder of versitygw, an S3-compatible server, building it if need be")
    load = commands.add_parser("load", help="build images and load them: the task images, or those named")
    load.add_argument(
        "images",
        nargs="*",
        metavar="NAME=FOLDER",
        help="such as nexus/operator:dev=operator, built with the argument BASE",
    )
    return parser


def _image(word: str) -> Image:
    name, equals, folder = word.partition("=")
    if not equals or not folder or ":" not in name:
        raise Refused(f"{word!r} is not NAME:TAG=FOLDER")
    # containerd knows images by their full names only.
    first = name.split("/")[0]
    full = (
        name
        if "." in first or first == "localhost"
        else f"docker.io/{name}"
        if "/" in name
        else f"docker.io/library/{name}"
    )
    return Image(full, Path(folder).resolve())
