"""Servers that have a name: `servers.toml` beside the VLM profiles says where each is, and how it lets us in.

A login's key comes from an environment variable or a file, is read when it is needed, and goes into a request's header;
rows, journals and logs know a server by its address alone.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from comfy_nodes.core.services import places, redaction
from comfy_nodes.core.services.profiles import fault_of_key, is_loopback

from ..errors import RunError, ServerLocked
from ..terminal import plain

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
HELP = "docs/operators.md, 'Servers behind a login'"


class Login(BaseModel):
    """One server of `servers.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str
    address: str
    user: str = Field("", pattern=r"^[^:\x00-\x1f\x7f]*$")
    """With it, user and key are sent as HTTP's basic login."""
    header: str = Field("", pattern=r"^[A-Za-z0-9-]*$")
    """With it, the key is sent as this header's value; without it and `user`, as a bearer token."""
    key_variable: str = Field("", pattern=r"^([A-Z][A-Z0-9_]*)?$")
    key_file: str = ""
    """Read anew for every request: a token that is renewed there lets a run go on."""
    certificate: str = ""
    """A bundle (PEM) that its certificate is checked with, beside those that the system knows."""
    insecure_http: bool = False
    """Lets the key travel unencrypted to another machine."""

    @field_validator("name")
    @classmethod
    def _name_is_plain(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError("a server's name has 1 to 32 of a-z, 0-9, '.', '_' and '-'")
        return name

    @field_validator("address")
    @classmethod
    def _address_is_bare(cls, address: str) -> str:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an address such as https://comfy.example.com")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must hold no user, password or parameters; name the key's variable in key_variable")
        return address.rstrip("/")

    @model_validator(mode="after")
    def _key_is_safe(self) -> Login:
        if self.key_variable and self.key_file:
            raise ValueError("name key_variable or key_file, not both")
        if self.user and self.header:
            raise ValueError("give user or header, not both")
        if (self.user or self.header) and not self._wants_key:
            raise ValueError("name the variable that holds the key in key_variable")
        parts = urlsplit(self.address)
        if self._wants_key and parts.scheme == "http" and not (self.insecure_http or is_loopback(parts.hostname or "")):
            raise ValueError(
                "address would send the key unencrypted to another machine; use https, or say insecure_http = true"
            )
        return self

    @property
    def _wants_key(self) -> bool:
        return bool(self.key_variable or self.key_file)

    def headers(self) -> dict[str, str]:
        """What a request carries.

        Raises:
            ServerLocked: there is no key now where the file says.
        """
        if not self._wants_key:
            return {}
        key = self._key()
        redaction.hide(key)
        if self.user:
            pair = base64.b64encode(f"{self.user}:{key}".encode()).decode()
            redaction.hide(pair)
            return {"Authorization": f"Basic {pair}"}
        return {self.header: key} if self.header else {"Authorization": f"Bearer {key}"}

    def tls(self) -> ssl.SSLContext:
        """
        Raises:
            RunError: the certificate's file is none.
        """
        try:
            context = ssl.create_default_context()
            if self.certificate:
                context.load_verify_locations(Path(self.certificate).expanduser())
        except OSError as error:  # ssl.SSLError is one
            why = error.strerror or "no certificate in PEM form is in it"
            raise RunError(
                f"--server {self.name}: {file()}, server '{self.name}': certificate {self.certificate}: {why}"
            ) from None
        return context

    def _key(self) -> str:
        where = f"the environment variable {self.key_variable}" if self.key_variable else f"{self.key_file}"
        try:
            found = os.environ.get(self.key_variable, "") if self.key_variable else _text(self.key_file)
        except (OSError, UnicodeDecodeError):
            found = ""
        found = found.strip()
        if fault := fault_of_key(found):
            raise ServerLocked(f"server '{self.name}' needs a key in {where}, which {fault}; put it there")
        return found


def file() -> Path:
    """Where named servers stand, whether it exists or not."""
    return places.servers_file()


def named(name: str) -> Login | None:
    """The server of this name; None where the file has none, and the word is an address.

    Raises:
        RunError: the file is wrong, or has no server of this name, which is no address either.
    """
    tables = _tables()
    if name in tables:
        return _login(name, tables[name])
    if name == "localhost" or re.search(r"[.:/]", name):
        return None
    have = f"has {', '.join(sorted(map(plain, tables)))}" if tables else "has none"
    raise RunError(
        f"--server {plain(name)}: {file()} has no server of this name (it {have}); add it there ({HELP}), or give an "
        f"address, such as http://{plain(name)}:8188"
    )


def locked_by(url: str, status: int, location: str | None, login: Login | None) -> str:
    """What a server that lets nobody in is called, and what to do."""
    if 300 <= status < 400:
        elsewhere = plain((location or "nowhere").partition("?")[0])[:200]
        what = f"{url} sends us to {elsewhere} ({status}), as a log-in page does; redirects are not followed"
        if login is None:
            what += "; give the address where ComfyUI itself answers, or"
    else:
        what = f"{url} asks for a login ({status})" + (";" if login is None else "")
    if login is None:
        return f"{what} write the login into {file()} and give its name to --server ({HELP})"
    return f"{what}; the login of server '{login.name}' in {file()} is not, or no longer, good there"


def _tables() -> dict[str, Any]:
    try:
        content = tomllib.loads(_text(str(file())))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RunError(f"--server: {file()} cannot be read: {error}") from None
    tables = content.pop("servers", {})
    if content or not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise RunError(f"--server: {file()} must hold tables [servers.NAME] and nothing else")
    return tables


def _login(name: str, fields: dict[str, Any]) -> Login:
    try:
        return Login(**{**fields, "name": name})
    except ValidationError as error:
        # Without the values: one of them may be a key in the wrong place.
        faults = (f"{'.'.join(map(str, fault['loc']))} {fault['msg']}".strip() for fault in error.errors())
        raise RunError(f"--server {name}: {file()}, server '{name}': {'; '.join(faults)}") from None


def _text(path: str) -> str:
    return Path(path).expanduser().read_text(encoding="utf-8")
