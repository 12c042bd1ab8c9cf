"""Who may be asked is the operator's word alone; what is wrong with it is said in one line that shows no key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from comfy_nodes.core.services import profiles
from comfy_nodes.core.services.profiles import VlmNotConfigured
from comfy_nodes.vlm.endpoint import client
from tests.vlm.client.questions import KEY, WriteProfile, ask, kinds, question
from tests.vlm.endpoint import Endpoint


@pytest.mark.parametrize("widget", ["{url}", "AWS_SECRET_ACCESS_KEY", "SENTINEL_KEY", "../vlm.toml", "", "no\nsuch"])
def test_a_graph_can_name_a_profile_and_nothing_else(
    widget: str, endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "aws-secret-value-1234")
    write_profile("mine", endpoint.url)
    write_profile("yours", endpoint.url)
    with pytest.raises(VlmNotConfigured, match="mine, yours") as raised:
        client.connect(widget.format(url=endpoint.url))
    assert endpoint.requests == []
    said = str(raised.value)
    assert "\n" not in said and "secret" not in said and KEY not in said and endpoint.url not in said
    assert profiles.problem(widget.format(url=endpoint.url)) == said


def test_a_misspelt_name_is_shown_with_those_there_are(write_profile: WriteProfile) -> None:
    write_profile("judge", "http://127.0.0.1:1/v1")
    assert "'jugde'" in (profiles.problem("jugde") or "")
    assert profiles.problem("judge") is None


def test_without_a_file_it_says_where_one_belongs(account: Path) -> None:
    assert str(account / "vlm.toml") in (profiles.problem("default") or "")


WRONG = {
    'base_url = "https://user:pw@x.example/v1"': "no user, password, key",
    'base_url = "https://x.example/v1?key=abc"': "no user, password, key",
    'base_url = "ftp://x.example"': "must be an address",
    f'base_url = "https://x.example/v1"\nkey = "{KEY}"': "does not belong in key",
    f'base_url = "https://x.example/v1"\nkey_variable = "{KEY}"': "key_variable",
    'base_url = "https://x.example/v1"\nkey_variable = "A"\nkey_file = "b"': "not both",
    'base_url = "http://10.1.2.3:8000/v1"\nkey_variable = "A"': "unencrypted",
    'base_url = "https://x.example/v1"\ncolour = 1': "colour",
    'base_url = "https://x.example/v1"\ntimeout_s = -1': "timeout_s",
    'base_url = "https://x.example/v1"\noutputs_may_train = true': "outputs_may_train Input should be 'yes' or 'no'",
}


@pytest.mark.parametrize("lines", WRONG, ids=WRONG.values())
def test_a_wrong_profile_is_refused_without_showing_it(lines: str, account: Path) -> None:
    (account / "vlm.toml").write_text(f'[profiles.default]\nmodel = "m"\n{lines}\n')
    with pytest.raises(VlmNotConfigured, match=WRONG[lines]) as raised:
        profiles.find("default")
    said = str(raised.value)
    assert "\n" not in said and KEY not in said and "pw@" not in said and "abc" not in said


@pytest.mark.parametrize("content", ["[profiles", "[other]\nx = 1\n", "profiles = 3\n"])
def test_a_wrong_file_is_named(content: str, account: Path) -> None:
    (account / "vlm.toml").write_text(content)
    with pytest.raises(VlmNotConfigured, match=r"vlm\.toml"):
        profiles.find("default")


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3/v1", "http://localhost:80/v1", "http://[::1]:80/v1", "https://x.example"]
)
def test_where_no_key_is_shown_to_the_network_plain_http_is_allowed(url: str) -> None:
    fields = {} if "10.1" in url else {"key_variable": "A"}
    profiles.Profile(name="a", base_url=url, model="m", **fields)
    profiles.Profile(name="a", base_url="http://10.1.2.3/v1", model="m", key_variable="A", insecure_http=True)


def test_the_environment_alone_makes_the_default_profile(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"BASE_URL": endpoint.url, "MODEL": "m", "KEY": "a-key-for-this", "CONCURRENCY": "3", "OMIT": "seed"}
    settings |= {"LICENCE": "Apache-2.0", "OUTPUTS_MAY_TRAIN": "yes"}
    for name, value in settings.items():
        monkeypatch.setenv(f"EDITPAIRS_VLM_{name}", value)
    assert profiles.find("default").concurrency == 3
    assert profiles.find("default").terms() == {"licence": "Apache-2.0", "outputs_may_train": "yes"}
    assert kinds(ask(question())) == ["answer"]
    (got,) = endpoint.requests
    assert got.headers["Authorization"] == "Bearer a-key-for-this"
    assert "seed" not in got.body and "temperature" in got.body


def test_a_key_may_lie_in_a_file(endpoint: Endpoint, write_profile: WriteProfile, account: Path) -> None:
    (account / "key").write_text("file-key-1234567\n")
    write_profile("default", endpoint.url, key_variable="", key_file=str(account / "key"))
    assert kinds(ask(question())) == ["answer"]
    assert endpoint.requests[0].headers["Authorization"] == "Bearer file-key-1234567"


def test_a_service_learns_nothing_that_it_needs_not_know(
    endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library reads variables of its own, which belong to another service."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer custom-mine\nX-Mine: custom-mine")
    write_profile("default", endpoint.url, key_variable="")
    assert kinds(ask(question())) == ["answer"]
    sent = {name.lower(): value for name, value in endpoint.requests[0].headers.items()}
    assert "authorization" not in sent
    assert not [value for value in sent.values() if "mine" in value or "sk-" in value]
    assert not [name for name in sent if name.startswith("x-")]


def test_a_proxy_that_the_environment_names_is_used(
    endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", endpoint.url.removesuffix("/v1"))
    write_profile("default", "http://service.invalid/v1", key_variable="", retries=0)
    assert kinds(ask(question())) == ["answer"]
    assert endpoint.requests[0].headers["Host"] == "service.invalid"
    monkeypatch.setenv("no_proxy", "service.invalid")
    write_profile("direct", "http://service.invalid/v1", key_variable="", retries=0)
    assert kinds(ask(question("another"), profile="direct")) == ["VlmConnection"]


def test_the_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDITPAIRS_CONFIG")
    monkeypatch.setenv("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME", str(tmp_path))
    assert profiles.places.config_file() == tmp_path / "editpairs" / "vlm.toml"
