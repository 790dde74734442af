"""The ways into a cluster: service accounts, kubeconfigs, plugins, and what is said where there is none."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from nexus.adapters.kube.client.access import Access, AccessError, TokenFile, find_access, from_kubeconfig


def kubeconfig(folder: Path, name: str = "config", **parts: Any) -> Path:
    """A kubeconfig with one context; `user`, `cluster` and `context` add to its parts."""
    body = {
        "current-context": parts.pop("current", "one"),
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u", **parts.pop("context", {})}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443/", **parts.pop("cluster", {})}}],
        "users": [{"name": "u", "user": parts.pop("user", {})}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(body | parts), encoding="utf-8")
    return path


def headers(access: Access, *, refused: bool = False) -> Mapping[str, str]:
    """The headers it sends."""
    return asyncio.run(access.credentials.headers(refused=refused))


def test_a_kubeconfig_gives_server_namespace_and_token(tmp_path: Path) -> None:
    path = kubeconfig(
        tmp_path, user={"token": "secret"}, context={"namespace": "team"}, cluster={"tls-server-name": "inner"}
    )
    access = find_access(str(path), environ={})
    assert (access.server, access.namespace) == ("https://api.example:6443", "team")
    assert (access.tls_server_name, access.proxy) == ("inner", None)
    assert headers(access) == {"Authorization": "Bearer secret"}
    assert access.tls is not None
    assert access.tls.check_hostname


def test_a_context_can_be_chosen_and_defaults_to_the_namespace_default(tmp_path: Path) -> None:
    contexts = [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("one", "two")]
    contexts[1]["context"]["namespace"] = "second"
    path = kubeconfig(tmp_path, contexts=contexts)
    assert from_kubeconfig([path], environ={}).namespace == "default"
    assert from_kubeconfig([path], context="two", environ={}).namespace == "second"
    with pytest.raises(AccessError, match=r'unknown context "three" \(known: one, two\)'):
        from_kubeconfig([path], context="three", environ={})


def test_several_kubeconfigs_are_merged_and_the_first_to_name_a_thing_wins(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path, "first", current="", user={"token": "first"}, contexts=[])
    second = kubeconfig(tmp_path, "second", user={"token": "second"}, context={"namespace": "from-second"})
    access = find_access(environ={"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{second}"})
    assert access.namespace == "from-second"
    assert headers(access) == {"Authorization": "Bearer first"}


def test_paths_are_relative_to_the_kubeconfig_they_stand_in(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "deep", user={"tokenFile": "token"})
    (tmp_path / "deep" / "token").write_text("from a file\n", encoding="utf-8")
    assert headers(from_kubeconfig([path], environ={})) == {"Authorization": "Bearer from a file"}


def test_a_password_becomes_basic_authentication(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"username": "ada", "password": "pass"})
    expected = base64.b64encode(b"ada:pass").decode()
    assert headers(from_kubeconfig([path], environ={})) == {"Authorization": f"Basic {expected}"}


def test_verification_is_left_out_only_where_the_kubeconfig_says_so(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"insecure-skip-tls-verify": True})
    access = from_kubeconfig([path], environ={})
    assert access.tls is not None
    assert not access.tls.check_hostname


def test_plain_http_needs_no_certificates(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"server": "http://127.0.0.1:8001"})
    assert from_kubeconfig([path], environ={}).tls is None


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128", "NO_PROXY": "api.example"}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
    ],
)
def test_proxies_of_the_environment_are_heeded(tmp_path: Path, environ: dict[str, str], proxy: str | None) -> None:
    assert from_kubeconfig([kubeconfig(tmp_path)], environ=environ).proxy == proxy


def test_the_proxy_of_the_kubeconfig_comes_first(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, cluster={"proxy-url": "http://mine:1"})
    assert from_kubeconfig([path], environ={"HTTPS_PROXY": "http://other:2"}).proxy == "http://mine:1"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"current": ""}, "no current-context; choose one with `kubectl config use-context NAME`"),
        ({"current": "nope"}, 'unknown context "nope"'),
        ({"context": {"cluster": "nope"}}, 'unknown cluster "nope"'),
        ({"context": {"user": "nope"}}, 'unknown user "nope"'),
        ({"cluster": {"server": "api.example"}}, "must be an http or https URL"),
        (
            {"cluster": {"certificate-authority-data": "%%%"}},
            "certificate-authority-data in the kubeconfig is not base64",
        ),
        ({"cluster": {"certificate-authority": "nope.crt"}}, "nope.crt cannot be read: No such file"),
        ({"user": {"client-certificate-data": "bm9wZQ=="}}, "certificates for the API server cannot be used"),
    ],
)
def test_a_broken_kubeconfig_is_told_what_is_wrong(tmp_path: Path, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(AccessError, match=message):
        from_kubeconfig([kubeconfig(tmp_path, **parts)], environ={})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "cannot read the kubeconfig"),
        (b"[" * 100_000, "cannot read the kubeconfig"),
        (b"clusters: 3", "clusters must be a list of"),
        (b"contexts: {name: a}", "contexts must be a list of"),
        (b"users: [x]", "users must be a list of"),
        (b"users: [{name: [a], user: {}}]", "users must be a list of"),
        (b"clusters: [{name: a, cluster: [x]}]", "clusters must be a list of"),
        (b"contexts: [{name: a, context: {namespace: 5}}]", "contexts must be a list of"),
        (b"current-context: {a: b}", "current-context must be a string"),
    ],
)
def test_a_kubeconfig_of_another_shape_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(AccessError, match=message):
        from_kubeconfig([path])


def test_a_kubeconfig_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(AccessError, match=f"cannot read the kubeconfig {path}"):
        from_kubeconfig([path])
    path.write_text("- a", encoding="utf-8")
    with pytest.raises(AccessError, match="must be a YAML object"):
        from_kubeconfig([path])


# -- where it is looked for --------------------------------------------------------------------------------------------


def service_account(folder: Path) -> Path:
    """What a kubelet mounts into a pod."""
    folder.mkdir()
    (folder / "token").write_text("pod-token", encoding="utf-8")
    (folder / "namespace").write_text("operator\n", encoding="utf-8")
    return folder


POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_in_a_pod_the_service_account_is_the_way_in(tmp_path: Path) -> None:
    access = find_access(environ=POD, service_account=service_account(tmp_path / "sa"), home=tmp_path)
    assert (access.server, access.namespace) == ("https://10.96.0.1:443", "operator")
    assert headers(access) == {"Authorization": "Bearer pod-token"}


def test_an_ipv6_address_is_put_in_brackets(tmp_path: Path) -> None:
    environ = POD | {"KUBERNETES_SERVICE_HOST": "fd00::1"}
    assert (
        find_access(environ=environ, service_account=service_account(tmp_path / "sa")).server == "https://[fd00::1]:443"
    )


def test_a_kubeconfig_that_was_named_comes_before_the_service_account(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path)
    account = service_account(tmp_path / "sa")
    assert find_access(environ=POD | {"KUBECONFIG": str(path)}, service_account=account).server.startswith(
        "https://api"
    )


def test_the_kubeconfig_at_home_comes_last(tmp_path: Path) -> None:
    kubeconfig(tmp_path / ".kube")
    assert find_access(environ={}, service_account=tmp_path / "sa", home=tmp_path).server == "https://api.example:6443"


def test_no_way_in_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"no cluster configuration found .* nexus run --local"):
        find_access(environ={}, service_account=tmp_path / "sa", home=tmp_path)
    with pytest.raises(AccessError, match=r"\$KUBECONFIG: file /nope not found"):
        find_access(environ={"KUBECONFIG": "/nope"}, home=tmp_path)
    with pytest.raises(AccessError, match="--kubeconfig: file /nope not found"):
        find_access("/nope", environ={}, home=tmp_path)


# -- tokens that change ------------------------------------------------------------------------------------------------


def test_a_token_file_is_read_again_after_a_minute_or_a_refusal(tmp_path: Path) -> None:
    path, now = tmp_path / "token", [0.0]
    token = TokenFile(path, lambda: now[0])

    def sent(*, refused: bool = False) -> str:
        return asyncio.run(token.headers(refused=refused))["Authorization"]

    path.write_text("first", encoding="utf-8")
    assert sent() == "Bearer first"
    path.write_text("second", encoding="utf-8")
    now[0] = 59.0
    assert sent() == "Bearer first"
    now[0] = 61.0
    assert sent() == "Bearer second"
    path.write_text("third", encoding="utf-8")
    assert sent(refused=True) == "Bearer third"
    path.unlink()
    now[0] = 200.0
    assert sent() == "Bearer third"


def test_a_token_file_that_never_was_is_named(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match=r"cannot read the token file .*nope"):
        asyncio.run(TokenFile(tmp_path / "nope").headers())


# -- plugins -----------------------------------------------------------------------------------------------------------


def plugin(folder: Path, script: str) -> dict[str, Any]:
    """A user with an exec plugin that runs this Python."""
    path = folder / "plugin.py"
    path.write_text(script, encoding="utf-8")
    run = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "args": [str(path)]}
    return {"exec": {**run, "installHint": "log in with: example login"}}


def credential(**status: str) -> str:
    """Python that prints an ExecCredential, the token counting how often it was asked."""
    body = json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})
    return f"""
import pathlib
times = pathlib.Path(__file__).with_suffix(".times")
count = int(times.read_text()) + 1 if times.exists() else 1
times.write_text(str(count))
print({body!r}.replace("COUNT", str(count)))
"""


def test_a_plugin_gives_a_token_and_another_when_that_is_refused(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user=plugin(tmp_path, credential(token="token-COUNT")))
    access = from_kubeconfig([path], environ={})
    assert headers(access) == headers(access) == {"Authorization": "Bearer token-1"}
    assert headers(access, refused=True) == {"Authorization": "Bearer token-2"}


def test_many_calls_refused_at_once_ask_the_plugin_once(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user=plugin(tmp_path, credential(token="token-COUNT")))

    async def main() -> set[str]:
        access = from_kubeconfig([path], environ={})
        sent = await asyncio.gather(*(access.credentials.headers(refused=True) for _ in range(5)))
        return {each["Authorization"] for each in sent}

    assert asyncio.run(main()) == {"Bearer token-2"}


def test_a_token_past_its_time_is_asked_for_anew(tmp_path: Path) -> None:
    script = credential(token="token-COUNT", expirationTimestamp="2020-01-01T00:00:00Z")
    access = from_kubeconfig([kubeconfig(tmp_path, user=plugin(tmp_path, script))], environ={})
    assert headers(access) == {"Authorization": "Bearer token-2"}


def test_a_plugin_that_fails_is_named_with_its_hint(tmp_path: Path) -> None:
    user = plugin(tmp_path, "import sys; sys.exit('session expired')")
    with pytest.raises(
        AccessError, match=r"credential plugin .* failed: .*session expired.*log in with: example login"
    ):
        from_kubeconfig([kubeconfig(tmp_path, user=user)], environ={})


def test_a_plugin_that_gives_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="returned neither a token nor a certificate"):
        from_kubeconfig([kubeconfig(tmp_path, user=plugin(tmp_path, credential()))], environ={})


def test_an_oidc_provider_gives_its_token_while_that_is_valid(tmp_path: Path) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": 4102444800}).encode()).decode().rstrip("=")
    token = f"e30.{claims}.c2ln"
    user = {"auth-provider": {"name": "oidc", "config": {"id-token": token}}}
    assert headers(from_kubeconfig([kubeconfig(tmp_path, user=user)], environ={})) == {
        "Authorization": f"Bearer {token}"
    }


def test_a_kubeconfig_without_a_plugin_does_not_load_the_kubernetes_package(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, user={"token": "secret"})
    code = (
        "import sys; from pathlib import Path; from nexus.adapters.kube.client.access import from_kubeconfig; "
        f"from_kubeconfig([Path({str(path)!r})], environ={{}}); print('kubernetes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
