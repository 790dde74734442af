"""The programs the cluster is made of: built from Go modules into the cache, or Debian's packages."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from nexus_cluster.settings import KUBERNETES, Settings
from nexus_cluster.shell import Refused, run, say

MINIMUM_GO = (1, 24)
"""What Kubernetes 1.34's and etcd 3.6.8's go.mod files ask for."""


@dataclass(frozen=True)
class Module:
    """A folder of tests/cluster/go whose go.mod pins, and whose go.sum verifies, what is built in it."""

    folder: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    linker: str = "-s -w"


def _kubernetes() -> Module:
    programs = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    # Without these the components call themselves v0.0.0-master, and clients that look at the version are misled.
    # client-go has a copy of its own, which goes into the user agents of the audit log.
    stamped = {
        "gitVersion": KUBERNETES,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "modules",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    stamps = " ".join(f"-X {package}.{name}={value}" for package in packages for name, value in stamped.items())
    return Module(
        "kubernetes", tuple(f"k8s.io/kubernetes/cmd/{name}" for name in programs), programs, f"-s -w {stamps}"
    )


CONTROL_PLANE = (_kubernetes(), Module("etcd", ("go.etcd.io/etcd/server/v3",), ("etcd",)))


def _helm() -> Module:
    # What `helm template` and `helm lint` take for the cluster. Unstamped, helm says 1.20 and refuses our chart.
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    stamped = {
        "internal/version.version": "v3.19.5",
        "pkg/chartutil.k8sVersionMajor": major,
        "pkg/chartutil.k8sVersionMinor": minor,
        "pkg/lint/rules.k8sVersionMajor": major,
        "pkg/lint/rules.k8sVersionMinor": minor,
    }
    stamps = " ".join(f"-X helm.sh/helm/v3/{name}={value}" for name, value in stamped.items())
    return Module("helm", ("helm.sh/helm/v3/cmd/helm",), ("helm",), f"-s -w {stamps}")


HELM = _helm()
FAKE_KUBELET = Module("kwok", ("sigs.k8s.io/kwok/cmd/kwok",), ("kwok",))
S3_SERVER = Module("versitygw", ("github.com/versity/versitygw/cmd/versitygw",), ("versitygw",))
PAUSE = Module("pause", (".",), ("pause",))

DEBIAN = {
    "openssl": "openssl",
    "ip": "iproute2",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "mount": "mount",
    "unshare": "util-linux",
}
"""Command to Debian package. What has no command (the CNI plugins) is looked for by `cni_plugins`."""


def build(settings: Settings, module: Module) -> Path:
    """Build a module's programs unless the cache holds them, and return the folder they are in.

    The folder's name is a hash of all that goes into the build, so that a changed version never meets an old program.
    """
    source = settings.here / "go" / module.folder
    inputs = hashlib.sha256(repr((module, os.uname().machine)).encode())
    for path in sorted(source.iterdir()):
        inputs.update(path.name.encode() + path.read_bytes())
    target = settings.cache / "bin" / f"{module.folder}-{inputs.hexdigest()[:12]}"
    if all((target / program).exists() for program in module.programs):
        return target
    _require_go(settings)
    say(f"building {', '.join(module.programs)} from Go modules (minutes on a cold cache, once)")
    target.parent.mkdir(parents=True, exist_ok=True)
    settings.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=settings.scratch))
    try:
        flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", module.linker]
        static = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
        run(settings, ["go", "build", *flags, "-o", f"{scratch}/", *module.packages], cwd=source, extra=static)
        if len(module.programs) == 1:
            # Go names a program after its import path, and etcd's path ends in server/v3.
            next(scratch.iterdir()).rename(scratch / module.programs[0])
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _require_go(settings: Settings) -> None:
    wanted = ".".join(str(part) for part in MINIMUM_GO)
    if shutil.which("go") is None:
        raise Refused(f"the cluster is built from source: install Go {wanted} or later and put `go` on the PATH")
    version = run(settings, ["go", "env", "GOVERSION"])
    match = re.search(r"go(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < MINIMUM_GO:
        raise Refused(f"Go {wanted} or later is needed, this is {version.strip()}: install a newer one")


def require_node_programs(settings: Settings) -> None:
    """Make sure a real node's programs are there, installing Debian's packages for those that are missing.

    Raises Refused (exit code 2) where that can't be done, naming what is missing.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Refused(
            "a real node needs Linux and root: use a machine with Docker and kind, run as root, or set KWOK=1"
        )
    missing = {package for command, package in DEBIAN.items() if shutil.which(command) is None}
    if cni_plugins() is None:
        missing.add("containernetworking-plugins")
    if pip_is_missing():
        missing.add("python3-pip")
    if missing:
        _install(settings, sorted(missing))


def _install(settings: Settings, packages: list[str]) -> None:
    """Install Debian's packages; raise Refused, with their names, where there is no apt."""
    if shutil.which("apt-get") is None:
        raise Refused(f"install these (Debian's package names) and try again: {', '.join(packages)}")
    say(f"installing {', '.join(packages)}")
    # RUNLEVEL=1 keeps the packages' own services from starting: the cluster runs a containerd of its own.
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(settings, ["apt-get", "update", "-qq"], extra=quiet)
    run(settings, ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], extra=quiet)


def postgres_programs(settings: Settings) -> Path:
    """Return the folder of `initdb` and `postgres`, the newest of them, installing Debian's package if there is none.

    Raises Refused where that can't be done. No server runs after it that did not run before.
    """
    found = _postgres_folders()
    if not found:
        if os.geteuid() != 0:
            raise Refused("there is no PostgreSQL server (initdb, postgres): install it, or run this as root")
        # Debian's package makes a database server of its own unless it is told not to.
        told = Path("/etc/postgresql-common/createcluster.d/nexus.conf")
        ours = not told.parent.exists()
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text("create_main_cluster = false\n")
        try:
            _install(settings, ["postgresql"])
        finally:
            told.unlink()
            if ours:
                told.parent.rmdir()
        found = _postgres_folders()
    if not found:
        raise Refused("no folder with both initdb and postgres in it: put PostgreSQL's server programs on the PATH")
    return found[-1]


def _postgres_folders() -> list[Path]:
    """Folders with PostgreSQL's server programs, the one to take last: Debian keeps them off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).resolve().parent] if on_path else []), *debian]
    return [folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()]


def prometheus_programs(settings: Settings) -> Path:
    """Return the folder of `prometheus` and `promtool`, installing Debian's package if they are missing.

    Raises Refused where that can't be done. No server runs after it that did not run before.
    """
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        if os.geteuid() != 0:
            raise Refused("prometheus and promtool are not on the PATH: install them, or run this as root")
        _install(settings, ["prometheus"])
    found = shutil.which("prometheus")
    if found is None or shutil.which("promtool") is None:
        raise Refused("prometheus and promtool are not on the PATH: put them there")
    return Path(found).parent


def helm(settings: Settings) -> Path:
    """Return helm's program: the one on the PATH where it is helm 3, else one that is built into the cache, once."""
    found = shutil.which("helm")
    if found and run(settings, [found, "version", "--template", "{{.Version}}"]).startswith("v3."):
        return Path(found)
    return build(settings, HELM) / "helm"


def pip_is_missing() -> bool:
    """Tell whether this Python lacks pip, which fetches the wheels that go into the task images."""
    return find_spec("pip") is None


def cni_plugins() -> Path | None:
    """Return the folder of the CNI plugins: Debian's, or the one the CNI project's own archives are unpacked into."""
    for folder in (Path("/usr/lib/cni"), Path("/opt/cni/bin")):
        if (folder / "bridge").exists() and (folder / "host-local").exists():
            return folder
    return None
