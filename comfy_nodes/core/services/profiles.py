"""The operator's profiles: which services may be asked, where they are, and how to talk to them.

A workflow carries a profile's name and nothing else, so that a graph from anywhere can send photos only where the
operator of this machine allows it. Loader nodes and the driver's preflight call this; no HTTP here.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from . import places, redaction

DEFAULT = "default"
"""The profile that the shipped workflows name."""

ENVIRONMENT_PREFIX = "EDITPAIRS_VLM_"
"""`EDITPAIRS_VLM_BASE_URL`, `EDITPAIRS_VLM_MODEL` and so on make up the profile `default` without a file."""

ENVIRONMENT_KEY = "EDITPAIRS_VLM_KEY"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class VlmNotConfigured(ValueError):
    """A profile that does not exist, is wrong, or lacks its key. One line that says what to do."""


class Profile(BaseModel):
    """How one model at one service is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    base_url: str
    """Where `/chat/completions` is found, as `https://api.example.com/v1`."""
    model: str = Field(min_length=1)
    key_variable: str = Field("", pattern=r"^([A-Z][A-Z0-9_]*)?$")
    """Name of the environment variable that holds the key; neither this nor `key_file`: the service wants none."""
    key_file: str = ""
    insecure_http: bool = False
    """Lets the key travel unencrypted to another machine."""
    timeout_s: float = Field(60.0, gt=0)
    """Seconds for one attempt from connecting to the last byte. Ours."""
    retries: int = Field(5, ge=0, le=20)
    """Further attempts after rate limits, server errors, timeouts and lost connections. Ours."""
    concurrency: int = Field(8, ge=1, le=1024)
    """Most requests at a time from one ComfyUI server, all nodes together. Ours."""
    requests_per_minute: float = Field(0.0, ge=0)
    """Most requests per minute from one ComfyUI server; 0: no limit."""
    usd_per_million_prompt_tokens: float | None = Field(None, ge=0)
    usd_per_million_completion_tokens: float | None = Field(None, ge=0)
    max_image_pixels: int = Field(1_048_576, ge=784)
    """Larger pictures are scaled down to this many pixels, smaller ones are left alone. Ours; at least one patch of
    Qwen2.5-VL (28 x 28)."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    image_tokens_per_megapixel: int = Field(1600, ge=0)
    """For estimates and reservations only; bills use what the service counts. Ours: above Qwen2.5-VL's 1,276 (one per
    28 x 28 pixels)."""
    json_mode: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    """How the service is made to answer in JSON: by a schema that it enforces, by its JSON mode, or by words alone."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit: tuple[Literal["temperature", "seed"], ...] = ()
    """Parameters that the service refuses."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further members of each request's body, as the service documents them."""
    licence: str = Field("", max_length=200)
    """Of the model behind it, or the service's terms, as the operator read them. Decides no answer."""
    outputs_may_train: Literal["yes", "no"] | None = None
    """Whether those terms let other models be trained on what it answers; None: nobody has said."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a profile's name has 1 to 32 of a-z, 0-9, '.', '_' and '-'")
        return name

    @field_validator("base_url")
    @classmethod
    def _url_is_bare(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as https://api.example.com/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("must hold no user, password, key or parameters; name the key's variable in key_variable")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _key_is_safe(self) -> Profile:
        if self.key_variable and self.key_file:
            raise ValueError("name key_variable or key_file, not both")
        parts = urlsplit(self.base_url)
        unsafe = parts.scheme == "http" and not is_loopback(parts.hostname or "")
        if self.wants_key and unsafe and not self.insecure_http:
            raise ValueError(
                "base_url would send the key unencrypted to another machine; use https, or say insecure_http = true"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """What decides the answers: which model is asked, where and how; no key, price or limit."""
        return {
            "base_url": self.base_url,
            "model": self.model,
            "json_mode": self.json_mode,
            "image": (self.max_image_pixels, self.image_format),
            "omit": sorted(self.omit),
            "extra_body": self.extra_body,
        }

    def terms(self) -> dict[str, str]:
        """What the operator says of its licence, as far as something is said."""
        said = {"licence": self.licence, "outputs_may_train": self.outputs_may_train}
        return {name: value for name, value in said.items() if value}

    def sha256(self) -> str:
        """Names the profile as it is now, all of it, where its values must not be seen."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def wants_key(self) -> bool:
        return bool(self.key_variable or self.key_file)

    @property
    def priced(self) -> bool:
        return None not in (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What these tokens cost; 0 where the profile names no prices."""
        prompt = (self.usd_per_million_prompt_tokens or 0.0) * prompt_tokens
        return (prompt + (self.usd_per_million_completion_tokens or 0.0) * completion_tokens) / 1e6

    def key(self) -> str:
        """The key as it is now, "" where the service wants none.

        Raises:
            VlmNotConfigured: there is none where the profile says.
        """
        if self.key_variable:
            where, key = f"the environment variable {self.key_variable}", os.environ.get(self.key_variable, "")
        elif self.key_file:
            where = f"the key_file of VLM profile '{self.name}'"
            try:
                key = Path(self.key_file).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                raise VlmNotConfigured(f"{where} cannot be read; put the key there") from None
        else:
            return ""
        key = key.strip()
        if fault := fault_of_key(key) or ("holds a space" if " " in key else ""):
            raise VlmNotConfigured(
                f"VLM profile '{self.name}' needs a key in {where}, which {fault}; "
                "set it where ComfyUI is started, and start ComfyUI again"
            )
        redaction.hide(key)
        return key


def find(name: str) -> Profile:
    """The profile of this name.

    Raises:
        VlmNotConfigured: there is none, or the file of profiles is wrong.
    """
    known = load()
    if name in known:
        return known[name]
    have = f"has {', '.join(sorted(known))}" if known else "has none yet: see docs/vlm.md"
    raise VlmNotConfigured(f"there is no {called(name)}; {places.config_file()} {have}")


def called(name: str) -> str:
    """A profile in words. What is no name is not repeated: it may be a key in the wrong place."""
    return f"VLM profile '{name}'" if _NAME.fullmatch(name) else "VLM profile of the name in this graph"


def problem(name: str) -> str | None:
    """Why the profile cannot be used, in one line, or None: for a node's `validate_inputs`, before anything is sent."""
    try:
        find(name).key()
    except VlmNotConfigured as error:
        return str(error)
    return None


def load() -> dict[str, Profile]:
    """All profiles by name; what the environment says of `default` goes before the file.

    Raises:
        VlmNotConfigured: the file of profiles or the environment is wrong.
    """
    file = places.config_file()
    profiles = {name: _profile(f"{file}, profile '{name}'", name, fields) for name, fields in _tables(file).items()}
    if os.environ.get(f"{ENVIRONMENT_PREFIX}BASE_URL"):
        profiles[DEFAULT] = _profile("the environment (EDITPAIRS_VLM_…)", DEFAULT, _from_environment())
    for profile in profiles.values():
        redaction.hide(os.environ.get(profile.key_variable, "").strip())
    return profiles


def _tables(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise VlmNotConfigured(redaction.clean(f"{file} cannot be read: {error}")) from None
    tables = content.pop("profiles", {})
    if content or not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise VlmNotConfigured(f"{file} must hold tables [profiles.NAME] and nothing else")
    return tables


def _from_environment() -> dict[str, Any]:
    named = {field: os.environ.get(ENVIRONMENT_PREFIX + field.upper()) for field in Profile.model_fields}
    fields: dict[str, Any] = {
        field: value for field, value in named.items() if value and field not in ("name", "extra_body", "omit")
    }
    if named["omit"]:
        fields["omit"] = tuple(named["omit"].replace(",", " ").split())
    if "key_variable" not in fields and "key_file" not in fields and os.environ.get(ENVIRONMENT_KEY):
        fields["key_variable"] = ENVIRONMENT_KEY
    return fields


def _profile(where: str, name: str, fields: dict[str, Any]) -> Profile:
    typed_keys = sorted(field for field in fields if field.lower() in ("key", "api_key", "apikey", "token"))
    if typed_keys:
        raise VlmNotConfigured(
            f"{where}: a key does not belong in {typed_keys[0]}; put it into an environment variable and name that "
            "in key_variable"
        )
    try:
        return Profile(**{**fields, "name": name})
    except ValidationError as error:
        # Without the values: one of them may be a key in the wrong place.
        faults = (f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors())
        raise VlmNotConfigured(redaction.clean(f"{where}: {'; '.join(faults)}")) from None


def fault_of_key(key: str) -> str:
    """What is wrong with a key as it was found, bare of the spacing around it; "" where a header can carry it."""
    if not key:
        return "holds none"
    if len(key.splitlines()) > 1:
        return "holds more than one line"
    if not key.isascii():
        return "holds characters that are not ASCII"
    return "" if key.isprintable() else "holds a control character"


def is_loopback(host: str) -> bool:
    """Whether an address's host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
