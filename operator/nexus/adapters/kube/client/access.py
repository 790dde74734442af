"""How to get into an API server: from inside a pod, or with a kubeconfig as kubectl reads it.

Order: the kubeconfig that was named; $KUBECONFIG; the pod's service account; ~/.kube/config. Certificates, tokens and
token files are read here. Only kubeconfigs with an `exec` or `auth-provider` plugin load the `kubernetes` package:
importing it costs 0.9 s and 20 MiB (kubernetes 37, Python 3.11), which no short CLI command should pay.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_AGE = 60.0
"""Seconds after which a token file is read again: kubelet renews service account tokens well before they expire."""

_PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_Entry = dict[str, Any]


class AccessError(Exception):
    """There is no way in: no kubeconfig, a broken one, or a plugin that failed. The message says what to do."""


class Credentials(Protocol):
    """What goes into the headers of each request."""

    async def headers(self, *, refused: bool = False) -> Mapping[str, str]:
        """Return the headers to send; `refused` says that the last ones were answered with 401 and are not worth
        repeating."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """One way into one API server."""

    server: str
    """Base URL without a trailing slash."""
    tls: ssl.SSLContext | None
    """None for plain http."""
    namespace: str
    """The namespace of the pod or of the kubeconfig's context; `default` where neither says."""
    credentials: Credentials
    tls_server_name: str | None = None
    proxy: str | None = None


class FixedCredentials:
    """Headers that never change: a token, a password, or none beside a client certificate."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)

    async def headers(self, *, refused: bool = False) -> Mapping[str, str]:
        """See Credentials."""
        del refused
        return self._headers


class TokenFile:
    """A bearer token in a file that is renewed by others, read again when it is older than TOKEN_AGE or was refused."""

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._token = ""
        self._read_at = 0.0

    async def headers(self, *, refused: bool = False) -> Mapping[str, str]:
        """See Credentials. A file that cannot be read for once leaves the last token in use."""
        if refused or not self._token or self._now() - self._read_at > TOKEN_AGE:
            try:
                self._token = self._path.read_text(encoding="utf-8").strip()
            except OSError as error:
                if not self._token:
                    raise AccessError(f"cannot read the token file {self._path}: {error.strerror}") from error
            self._read_at = self._now()
        return {"Authorization": f"Bearer {self._token}"}


class PluginToken:
    """A token from a kubeconfig's plugin, asked for again, in a thread, when it expired or was refused."""

    def __init__(self, ask: Callable[[], tuple[str, datetime | None]], token: str, expires: datetime | None) -> None:
        self._ask = ask
        self._token = token
        self._expires = expires
        self._asking = asyncio.Lock()

    async def headers(self, *, refused: bool = False) -> Mapping[str, str]:
        """See Credentials; raises AccessError where the plugin fails."""
        token = self._token
        async with self._asking:
            # Many calls are refused at once when a token expires: the first to get here asks for all of them.
            expired = self._expires is not None and datetime.now(UTC) >= self._expires
            if expired or (refused and token == self._token):
                self._token, self._expires = await asyncio.to_thread(self._ask)
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def find_access(
    kubeconfig: str | None = None,
    *,
    context: str | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    home: Path | None = None,
) -> Access:
    """Return the access to a cluster that this process has.

    Args:
        kubeconfig: path of a kubeconfig, or several separated as in $KUBECONFIG; wins over everything else.
        context: name of a context, instead of the kubeconfig's current one.

    Raises:
        AccessError: no way in was found, or the one found is broken.
    """
    named = kubeconfig or environ.get("KUBECONFIG")
    if named:
        files = [Path(part).expanduser() for part in named.split(os.pathsep) if part]
        found = [path for path in files if path.exists()]
        if not found:
            source = "--kubeconfig" if kubeconfig else "$KUBECONFIG"
            raise AccessError(f"{source}: file {named} not found; correct the path, or unset it")
        return from_kubeconfig(found, context=context, environ=environ)
    if environ.get("KUBERNETES_SERVICE_HOST") and (service_account / "token").exists():
        return from_service_account(environ, service_account)
    default = (home or Path.home()) / ".kube" / "config"
    if default.exists():
        return from_kubeconfig([default], context=context, environ=environ)
    raise AccessError(
        f"no cluster configuration found (KUBECONFIG is not set, {default} does not exist, no service account of a "
        "pod); set KUBECONFIG to the kubeconfig of your cluster (`make cluster` prints one), or run without a cluster: "
        "nexus run --local"
    )


def from_service_account(environ: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Access:
    """Return the access that every pod with a service account has."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    authority, namespace = directory / "ca.crt", directory / "namespace"
    return Access(
        server=f"https://{host}:{port}",
        tls=_tls_context(authority.read_bytes() if authority.exists() else None, insecure=False),
        namespace=namespace.read_text(encoding="utf-8").strip() if namespace.exists() else "default",
        credentials=TokenFile(directory / "token"),
    )


def from_kubeconfig(
    files: list[Path], *, context: str | None = None, environ: Mapping[str, str] = os.environ
) -> Access:
    """Return the access that kubeconfig files describe, merged as kubectl merges them: the first to name a thing
    wins."""
    merged = _merged(files)
    where = ", ".join(str(path) for path in files)
    name = context or merged["current-context"]
    if not name:
        raise AccessError(f"{where}: no current-context; choose one with `kubectl config use-context NAME`")
    chosen = _named(merged, "contexts", name, where)
    cluster = _named(merged, "clusters", chosen.get("cluster", ""), where)
    user = _named(merged, "users", chosen["user"], where) if chosen.get("user") else {}
    server = str(cluster.get("server", "")).rstrip("/")
    if urlsplit(server).scheme not in ("http", "https"):
        raise AccessError(
            f'{where}: cluster "{chosen["cluster"]}": server must be an http or https URL, got "{server}"'
        )
    certificate = _content(user, "client-certificate"), _content(user, "client-key")
    credentials: Credentials
    if "exec" in user or "auth-provider" in user:
        credentials, certificate = _plugin(merged, name, user, cluster, certificate)
    else:
        credentials = _credentials(user)
    tls = None
    if server.startswith("https"):
        insecure = bool(cluster.get("insecure-skip-tls-verify"))
        tls = _tls_context(_content(cluster, "certificate-authority"), insecure=insecure, certificate=certificate)
    return Access(
        server=server,
        tls=tls,
        namespace=chosen.get("namespace") or "default",
        credentials=credentials,
        tls_server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url") or _environment_proxy(server, environ),
    )


# Fields of a context, cluster or user that hold anything but a string.
_NO_STRINGS = (
    *("insecure-skip-tls-verify", "disable-compression", "exec", "auth-provider", "extensions"),
    *("as-groups", "as-user-extra"),
)


def _check_shape(content: dict[str, Any], path: Path) -> None:
    """Refuse what kubectl would: entries that are not objects, and names, addresses and paths that are not strings."""

    def is_named(entry: object, singular: str) -> bool:
        if not isinstance(entry, dict) or not isinstance(entry.get("name", ""), str):
            return False
        body = entry.get(singular) or {}
        return isinstance(body, dict) and all(
            isinstance(value, str) or value is None for key, value in body.items() if key not in _NO_STRINGS
        )

    if not isinstance(content.get("current-context") or "", str):
        raise AccessError(f"the kubeconfig {path}: current-context must be a string")
    for section, singular in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
        entries = content.get(section) or []
        if not isinstance(entries, list) or not all(is_named(entry, singular) for entry in entries):
            shape = f"{{name: NAME, {singular}: {{...}}}}, its fields strings"
            raise AccessError(f"the kubeconfig {path}: {section} must be a list of {shape}")


def _merged(files: list[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {"current-context": "", "contexts": {}, "clusters": {}, "users": {}}
    for path in files:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
            raise AccessError(f"cannot read the kubeconfig {path}: {error}") from error
        if not isinstance(content, dict):
            raise AccessError(f"the kubeconfig {path} must be a YAML object")
        _check_shape(content, path)
        merged["current-context"] = merged["current-context"] or content.get("current-context") or ""
        for section, singular in (("contexts", "context"), ("clusters", "cluster"), ("users", "user")):
            for entry in content.get(section) or []:
                body = _absolute(dict(entry.get(singular) or {}), path.absolute().parent)
                merged[section].setdefault(entry.get("name", ""), body)
    return merged


def _absolute(body: _Entry, folder: Path) -> _Entry:
    """Paths in a kubeconfig are relative to their file; a plugin's command only where it has a slash."""
    for key in _PATHS:
        if body.get(key):
            body[key] = str(folder / Path(body[key]).expanduser())
    plugin = body.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        body["exec"] = {**plugin, "command": str(folder / plugin["command"])}
    return body


def _named(merged: Mapping[str, Any], section: str, name: str, where: str) -> _Entry:
    entry: _Entry | None = merged[section].get(name)
    if entry is None:
        known = ", ".join(sorted(merged[section])) or "none"
        raise AccessError(f'{where}: unknown {section[:-1]} "{name}" (known: {known})')
    return entry


def _content(body: _Entry, key: str) -> bytes | None:
    """Return what `KEY-data` holds in base64, else the content of the file `KEY`."""
    try:
        if body.get(f"{key}-data"):
            return base64.b64decode(body[f"{key}-data"], validate=True)
        return Path(body[key]).read_bytes() if body.get(key) else None
    except ValueError as error:
        raise AccessError(f"{key}-data in the kubeconfig is not base64") from error
    except OSError as error:
        raise AccessError(f"the kubeconfig's {key} {body[key]} cannot be read: {error.strerror}") from error


def _credentials(user: _Entry) -> Credentials:
    if user.get("tokenFile"):
        return TokenFile(Path(user["tokenFile"]))
    if user.get("token"):
        return FixedCredentials({"Authorization": f"Bearer {user['token']}"})
    if user.get("username"):
        pair = base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
        return FixedCredentials({"Authorization": f"Basic {pair}"})
    return FixedCredentials({})


def _tls_context(
    authority: bytes | None, *, insecure: bool, certificate: tuple[bytes | None, bytes | None] = (None, None)
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=authority.decode("ascii") if authority else None)
        # Python 3.13 made this the default; many a cluster's CA lacks the extensions it asks for, and kubectl asks not.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate[0]:
            _load_certificate(context, certificate[0] + b"\n" + (certificate[1] or b""))
    except (ssl.SSLError, ValueError) as error:
        raise AccessError(f"the certificates for the API server cannot be used: {error}") from error
    return context


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    # The ssl module takes files only. This one is ours alone (0600) and gone at once.
    with tempfile.NamedTemporaryFile(prefix="nexus-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)


def _environment_proxy(server: str, environ: Mapping[str, str]) -> str | None:
    """HTTPS_PROXY and NO_PROXY, as kubectl heeds them."""
    parts = urlsplit(server)
    proxies = {
        scheme: environ.get(f"{scheme}_proxy") or environ.get(f"{scheme.upper()}_PROXY") or ""
        for scheme in ("http", "https", "no")
    }
    if not proxies[parts.scheme] or urllib.request.proxy_bypass_environment(parts.netloc, proxies):  # type: ignore[attr-defined]
        return None
    return proxies[parts.scheme]


def _plugin(
    merged: Mapping[str, Any],
    context: str,
    user: _Entry,
    cluster: _Entry,
    certificate: tuple[bytes | None, bytes | None],
) -> tuple[Credentials, tuple[bytes | None, bytes | None]]:
    """Ask the plugin now, so that a broken one is found at the start; its certificates go into the TLS context."""
    if "exec" in user:
        status = _run_exec(user, cluster)
        if status.get("clientCertificateData"):
            certificate = status["clientCertificateData"].encode(), status.get("clientKeyData", "").encode()

        def ask() -> tuple[str, datetime | None]:
            return _token(_run_exec(user, cluster))

        return PluginToken(ask, *_token(status)), certificate

    def ask_provider() -> tuple[str, datetime | None]:
        return _auth_provider_token(merged, context), None

    return PluginToken(ask_provider, *ask_provider()), certificate


def _token(status: Mapping[str, Any]) -> tuple[str, datetime | None]:
    expires = status.get("expirationTimestamp")
    return str(status.get("token") or ""), datetime.fromisoformat(expires) if expires else None


def _run_exec(user: _Entry, cluster: _Entry) -> dict[str, Any]:
    from kubernetes.config import ConfigException
    from kubernetes.config.exec_provider import ExecProvider
    from kubernetes.config.kube_config import ConfigNode

    command = user["exec"].get("command", "")
    try:
        # ExecProvider itself, not load_kube_config: that one logs a plugin's failure and continues without credentials.
        status = ExecProvider(ConfigNode("exec", user["exec"]), None, ConfigNode("cluster", cluster)).run()  # type: ignore[no-untyped-call]
    except (ConfigException, OSError) as error:
        hint = user["exec"].get("installHint") or "run it by hand to see why, or log in again"
        raise AccessError(f"the kubeconfig's credential plugin {command!r} failed: {error}; {hint}") from error
    if not status.get("token") and not status.get("clientCertificateData"):
        raise AccessError(f"the kubeconfig's credential plugin {command!r} returned neither a token nor a certificate")
    return dict(status)


def _auth_provider_token(merged: Mapping[str, Any], context: str) -> str:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_kube_config_from_dict

    singular = {"contexts": "context", "clusters": "cluster", "users": "user"}
    content: dict[str, Any] = {
        section: [{"name": name, one: body} for name, body in merged[section].items()]
        for section, one in singular.items()
    }
    configuration = Configuration()
    try:
        content["current-context"] = context
        load_kube_config_from_dict(  # type: ignore[no-untyped-call]
            content, client_configuration=configuration, persist_config=False
        )
    except ConfigException as error:
        raise AccessError(f"the kubeconfig's auth-provider failed: {error}") from error
    token = configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization") or ""
    if not token:
        raise AccessError("the kubeconfig's auth-provider returned no token; use an `exec` plugin, as kubectl requires")
    return str(token).removeprefix("Bearer ")
