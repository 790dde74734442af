"""Proxies and certificates by environment, read as Go's programs read them, each mistake reported with its variable."""

from __future__ import annotations

import os
import re

from nexus.bootstrap.body import Fault

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ipaddress
    import ssl

PROXY_URL = re.compile(r"(?:([^:/?#@]+)://)?(?:([^/?#\s]*)@)?(\[[0-9a-fA-F:.]+\]|[^:/?#@\[\]\s]+)(?::([0-9]{1,5}))?/?")
ENTRY = re.compile(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]+))?")


class Proxy:
    """A proxy that a request goes through, and the variable that says so."""

    def __init__(self, variable: str, scheme: str, credentials: str, address: str) -> None:
        self.variable = variable
        self.scheme = scheme
        self.credentials = credentials
        self.address = address

    @property
    def url(self) -> str:
        at = f"{self.credentials}@" if self.credentials else ""
        return f"{self.scheme}://{at}{self.address}"

    @property
    def name(self) -> str:
        """For messages: without credentials."""
        return f"the proxy {self.address} ({self.variable})"


def proxy_for(scheme: str, host: str, port: int, environ: dict[str, str]) -> Proxy | None:
    """Return the proxy for an address, None where it is asked directly. Raises Fault for variables that say nothing
    clear."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable = name if name in environ else name.upper()
        value = environ.get(variable, "").strip()
        if value:
            return None if is_direct(host, port, environ) else parsed_proxy(variable, value)
    return None


def parsed_proxy(variable: str, value: str) -> Proxy:
    found = PROXY_URL.fullmatch(value)
    scheme = (found[1] or "http").lower() if found else value.partition("://")[0].lower()
    if scheme.startswith("socks"):
        advice = f"set {variable} to an HTTP proxy, or list the host in NO_PROXY"
        raise Fault("UnsupportedProxy", f"{variable} is the address of a SOCKS proxy, which is not supported; {advice}")
    if found is None or scheme not in ("http", "https") or (found[4] and not 0 < int(found[4]) < 65536):
        raise invalid_proxy(variable)
    return Proxy(variable, scheme, found[2] or "", found[3] + (f":{found[4]}" if found[4] else ""))


def invalid_proxy(variable: str) -> Fault:
    text = f"{variable} is not a valid proxy address; write it as http://host:port or http://user:password@host:port"
    return Fault("InvalidProxy", f"{text}, with special characters percent-encoded")


def is_direct(host: str, port: int, environ: dict[str, str]) -> bool:
    """Return whether NO_PROXY lists a host: `*`, names with all names below them, names below one (`.x`, `*.x`),
    addresses and ranges of them, each but a range with a port or without."""
    variable = "no_proxy" if "no_proxy" in environ else "NO_PROXY"
    entries = [entry.lower() for entry in re.split(r"[,\s]+", environ.get(variable, "")) if entry]
    name = host.lower().strip("[]").rstrip(".")
    address = address_of(name)
    found = [covers(entry, name, address, port, variable) for entry in entries]  # all of them: each mistake is reported
    return True in found


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def covers(entry: str, name: str, address: object, port: int, variable: str) -> bool:
    import ipaddress

    if entry == "*":
        return True
    unclear = Fault("InvalidProxy", f'{variable}: "{entry[:80]}" is not a host name, .domain, address or address range')
    if "/" in entry:
        try:
            network = ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
        except ValueError:
            raise unclear from None
        return address is not None and address in network
    found = ENTRY.fullmatch(entry)
    listed, wanted = (found[1] or found[2] or "", found[3]) if found else (entry, None)
    own = address_of(listed)
    if own is not None:
        return own == address and wanted in (None, str(port))
    suffix = listed[1:] if listed.startswith("*.") else listed
    if found is None or found[1] or not suffix.strip(".") or "*" in suffix:
        raise unclear
    if wanted not in (None, str(port)):
        return False
    suffix = suffix.rstrip(".")
    return name.endswith(suffix) if suffix.startswith(".") else name == suffix or name.endswith(f".{suffix}")


def tls_context(environ: dict[str, str]) -> ssl.SSLContext:
    """Return what servers' certificates are checked against. Raises Fault where the variables lead nowhere."""
    import ssl

    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if not file and not folder:
        import certifi

        return ssl.create_default_context(cafile=certifi.where())
    advice = "mount the CA's certificate there (pod.volumes), or correct env"
    if folder and not any(os.path.isdir(path) for path in folder.split(os.pathsep)):
        raise Fault("InvalidCA", f"SSL_CERT_DIR: folder {folder} not found; {advice}")
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except ssl.SSLError:
        raise Fault("InvalidCA", f"SSL_CERT_FILE is {file}, which holds no certificate in PEM form; {advice}") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Fault("InvalidCA", f"SSL_CERT_FILE is {file}, which cannot be read ({why}); {advice}") from None


def no_context() -> ssl.SSLContext:
    """Return a context for requests without TLS: it reads no files and trusts no certificate."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def ca_advice(environ: dict[str, str]) -> str:
    """Return what to do about a certificate that is not trusted."""
    given = [f"{name} ({environ[name]})" for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)]
    if given:
        return f"the CA that signed it must be in {' or '.join(given)}"
    others = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if environ.get(name)]
    hint = f" ({' and '.join(others)} are not read)" if others else ""
    return f"point SSL_CERT_FILE in env at the certificate of the CA that signed it{hint}"
