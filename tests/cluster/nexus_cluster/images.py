"""Container images without a registry: a base from Debian's packages, and Dockerfiles built on it with buildah.

Every archive in the cache has a hash of all it was made from in its name, so that nothing is built twice and nothing
stale is used.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nexus_cluster import programs
from nexus_cluster.node import PAUSE_IMAGE
from nexus_cluster.settings import Settings
from nexus_cluster.shell import Failed, Refused, run, say

REQUIREMENTS = ("requirements.txt", "requirements/runtime.lock")
"""Where a Dockerfile's folder has the packages that it installs; their wheels are fetched beforehand."""

BYTE_CODE = "__pycache__"
"""Is no part of any image's sources, and changes with each run of the tests."""

DROPPED = (
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
    "./usr/share/doc/*",
    "./usr/share/locale/*",
    "./usr/share/man/*",
    "./var/log/*",
    "./dev/*",
)
"""What the base image does without: half of what debootstrap unpacks."""


@dataclass(frozen=True)
class Image:
    """An image to build: its name in containerd, and the folder of its Dockerfile."""

    name: str
    context: Path


def task_images(settings: Settings) -> list[Image]:
    """Return the images of task-images/, by their full names, which is what containerd compares a pod's image with."""
    folder = settings.repository / "task-images"
    return [
        Image(f"docker.io/nexus/task-{task}:dev", folder / task)
        for task in sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    ]


def operator_image(settings: Settings) -> Image:
    """Return the operator's own image. It is no part of `up`: only what installs the chart needs it."""
    return Image("docker.io/nexus/operator:dev", settings.repository / "operator")


def archive(settings: Settings, image: Image) -> Path:
    """Return the image's archive, building it unless the cache holds it."""
    if not (image.context / "Dockerfile").exists():
        raise Refused(f"there is no Dockerfile in {image.context}")
    inputs = hashlib.sha256(f"{_base_key(settings)} {image.name}".encode())
    for path in sorted(image.context.rglob("*")):
        if path.is_file() and BYTE_CODE not in path.parts:
            inputs.update(f"{path.relative_to(image.context)} {path.stat().st_mode:o} ".encode() + path.read_bytes())
    stem = image.name.split("/")[-1].replace(":", "-")
    target = settings.cache / "images" / f"{stem}-{inputs.hexdigest()[:12]}.tar"
    if target.exists():
        return target
    for outdated in target.parent.glob(f"{stem}-????????????.tar"):
        outdated.unlink()
    say(f"building the image {image.name}")
    base = _base(settings)
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as scratch:
        context = Path(scratch) / "context"
        shutil.copytree(image.context, context, ignore=shutil.ignore_patterns(BYTE_CODE))
        arguments = [f"--build-arg=BASE={base}"]
        for locked in (context / name for name in REQUIREMENTS if (context / name).exists()):
            _download_wheels(settings, context, locked)
            arguments += ["--build-arg=PIP_NO_INDEX=1", "--build-arg=PIP_FIND_LINKS=/context/wheels"]
        _build(settings, context, image.name, arguments)
        _push(settings, image.name, target)
    return target


def pause_archive(settings: Settings) -> Path:
    """Return the archive of the pause image, which holds a pod's namespaces open."""
    program = programs.build(settings, programs.PAUSE)
    target = settings.cache / "images" / f"{program.name}.tar"
    if not target.exists():
        say("building the pause image")
        with tempfile.TemporaryDirectory(dir=_scratch(settings)) as scratch:
            shutil.copy(program / "pause", scratch)
            shutil.copy(settings.here / "images" / "pause" / "Dockerfile", scratch)
            _build(settings, Path(scratch), PAUSE_IMAGE, [])
            _push(settings, PAUSE_IMAGE, target)
    return target


def _base_key(settings: Settings) -> str:
    dockerfile = (settings.here / "images" / "base" / "Dockerfile").read_bytes()
    recipe = hashlib.sha256(dockerfile + repr((DROPPED, platform.machine())).encode()).hexdigest()[:12]
    return f"{_suite()}-{recipe}"


def _base(settings: Settings) -> str:
    """Return the name of the base image in buildah's storage, making the image if it is not there."""
    name = f"localhost/nexus/base:{_base_key(settings)}"
    if name in _buildah(settings, "images", "--format", "{{.Name}}:{{.Tag}}").split():
        return name
    tarball = _root_filesystem(settings)
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as scratch:
        os.link(tarball, Path(scratch) / "rootfs.tar")
        shutil.copy(settings.here / "images" / "base" / "Dockerfile", scratch)
        _build(settings, Path(scratch), name, [])
    return name


def _root_filesystem(settings: Settings) -> Path:
    target = _folder(settings, "base") / f"{_base_key(settings)}.tar"
    if target.exists():
        return target
    suite, mirror = _suite(), _mirror(settings)
    say(f"unpacking Debian {suite} with Python as the base of the images (a minute, once)")
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as scratch:
        root = Path(scratch) / "root"
        run(
            settings,
            ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", suite, root, mirror],
        )
        partial = Path(scratch) / "rootfs.tar"
        run(
            settings,
            ["tar", "--create", "--numeric-owner", f"--file={partial}", f"--directory={root}", *_excludes(), "."],
        )
        partial.rename(target)
    return target


def _excludes() -> list[str]:
    return [f"--exclude={pattern}" for pattern in DROPPED]


def _suite() -> str:
    """Return this machine's own Debian release, whose packages its apt sources have."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise Refused(
        "the images are made from Debian's packages, and this machine's /etc/os-release names no release of it"
    )


def _mirror(settings: Settings) -> str:
    lines = run(
        settings, ["apt-get", "indextargets", "--format", "$(CODENAME) $(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    )
    for line in lines.splitlines():
        codename, release, uri = line.split(maxsplit=2)
        if _suite() in (codename, release):
            return uri.rstrip("/")
    raise Refused(f"apt on this machine has no source for {_suite()}: add one, then run apt-get update")


def _download_wheels(settings: Settings, context: Path, locked: Path) -> None:
    """Fetch the wheels for the base's Python, not for the one that runs this, checking them against their hashes."""
    version = _python_of_base(settings)
    machine = platform.machine()
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in (28, 27, 17)] + [
        f"--platform=manylinux2014_{machine}"
    ]
    target = ["--only-binary=:all:", "--no-deps", f"--python-version={version}", "--implementation=cp", *platforms]
    files: list[str | Path] = ["--require-hashes", "-r", locked, "--dest", context / "wheels"]
    run(settings, [sys.executable, "-m", "pip", "download", "--quiet", *target, *files])


def _python_of_base(settings: Settings) -> str:
    """Return the `3.x` of the base's Python, which /usr/bin/python3 is a link to."""
    listed = run(settings, ["tar", "--list", "--verbose", f"--file={_root_filesystem(settings)}", "./usr/bin/python3"])
    if "python3." not in listed:
        raise Failed(f"the base image has no /usr/bin/python3 that links to a version: {listed}")
    return listed.strip().rpartition("python")[2]


def _build(settings: Settings, context: Path, name: str, arguments: list[str]) -> None:
    # chroot isolation needs no runtime and no network of its own; it is what works inside containers too.
    flags = ["--isolation=chroot", "--pull-never", "--layers=false", "--format=docker", "--quiet", f"--tag={name}"]
    _buildah(settings, "build", *flags, *arguments, str(context))


def _push(settings: Settings, name: str, target: Path) -> None:
    """Write an image to an archive in one step, so that a killed build leaves none that is half."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_scratch(settings)) as scratch:
        partial = Path(scratch) / "image.tar"
        _buildah(settings, "push", "--quiet", name, f"docker-archive:{partial}:{name}")
        partial.rename(target)
    # The base stays for the next build; what was made from it is in the archive now.
    _buildah(settings, "rmi", name)


def _buildah(settings: Settings, *words: str) -> str:
    storage = settings.cache / "buildah"
    # vfs needs no support from the file system below, which inside a container is overlayfs already.
    own = ["--root", str(storage), "--runroot", str(storage / "run"), "--storage-driver", "vfs"]
    # It sets up networks even for builds that use none, in /etc/cni unless told otherwise.
    networks = _folder(settings, "buildah/networks")
    configuration = networks / "containers.conf"
    configuration.write_text(f'[network]\nnetwork_config_dir = "{networks}"\n')
    extra = {"TMPDIR": str(_scratch(settings)), "CONTAINERS_CONF": str(configuration)}
    return run(settings, ["buildah", *own, *words], extra=extra)


def _folder(settings: Settings, name: str) -> Path:
    folder = settings.cache / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _scratch(settings: Settings) -> Path:
    settings.scratch.mkdir(parents=True, exist_ok=True)
    return settings.scratch
