"""Whether the servers of a run would do the same with its graph: asked once before it, and of each that joins later.

Called when servers answer and the graph is bound. Compares what servers say of themselves, the content of their weights,
prompts and VLM profiles included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

from comfy_nodes.core.ingredients import Ingredients

from ..comfyui.answering import at_once
from ..comfyui.client import ComfyServer
from ..errors import PromptRefused, RunError, ServerFault, unusable
from ..graph.api import SOURCE_CLASS, Api
from ..graph.checks import check
from ..graph.input_files import missing_files
from ..graph.schemas import inputs_by_name, listed_in, outputs_of, required_of, settings_of

BIG_HOST_BYTES = 128 << 30
"""ComfyUI 0.30's default cache forgets nothing while more host memory than this is free (main.py, `prompt_worker`)."""

MANY_FILES = 1000
"""Files in the input root from which listing them costs more than 10 ms a prompt (measured: 11 ms of POST at 1,000)."""

SHOWN = 5
"""Differences that a refusal names. Ours."""

_CACHES = {"--cache-lru", "--cache-classic", "--cache-none", "--cache-ram", "--high-ram"}
_NUMBERS = ("default", "min", "max", "step", "round")


@dataclass(frozen=True)
class Agreement:
    """What all servers of a run have in common."""

    url: str
    """The server that the others were compared with."""
    api: Api
    """The graph that they were compared for."""
    stats: dict[str, Any]
    """What that server says of itself."""
    object_info: dict[str, Any]
    """Schemas of its nodes."""
    ingredients: Ingredients
    """What they make the graph's pixels and words with."""
    warnings: tuple[str, ...]
    """A line each on what makes a run slower, larger or less even than it need be."""


def agree(servers: Sequence[ComfyServer], api: Api) -> Agreement:
    """Compares servers with the graph and with the first of them.

    Args:
        servers: at least one, each answering.
        api: the graph as it will be submitted, without the samples.

    Raises:
        RunError: one cannot be asked, is named twice, cannot run the graph, or differs from the first in what the
            graph uses. Names all of them in one line.
    """
    urls = [server.url for server in servers]
    for url in urls:
        if urls.count(url) > 1:
            raise RunError(f"--server {url}: named twice; once is enough, it gets several samples at a time anyway")
    first, *others = at_once([partial(_Server.ask, server) for server in servers])
    findings = {first.url: first.misfits(api)}
    for one in others:
        findings[one.url] = one.misfits(api) + one.differences(first, api)
    nodes = [one.object_info for one in (first, *others)]
    lacking = at_once([partial(_missing_files, *one) for one in zip(servers, repeat(api), nodes)])
    _refuse({url: findings[url] + lines for url, lines in zip(findings, lacking, strict=True)}, not others)
    # One first: servers of one machine share what it has read.
    (known,) = at_once([partial(_ingredients, servers[0], api)])
    told = at_once([partial(_ingredients, server, api) for server in servers[1:]])
    _refuse({url: list(one.unready.values()) for url, one in zip(urls, (known, *told), strict=True)}, not others)
    _refuse({one.url: _unlike(other, known, first.url) for one, other in zip(others, told, strict=True)})
    warnings = first.warnings(api)
    warnings += [
        f"{first.url}: {name} is in none of its model folders: rows name it without a hash"
        for name, content in known.weights.items()
        if content is None
    ]
    for one in others:
        warnings += one.warnings(api) + one.unevenness(first)
    return Agreement(first.url, api, first.stats, first.object_info, known, tuple(warnings))


def check_join(server: ComfyServer, reference: Agreement) -> tuple[str, ...]:
    """Compares a server that comes, or comes back, in the middle of a run.

    Returns:
        Warnings, as in an `Agreement`.

    Raises:
        RunError: as `agree`.
    """
    one = _Server.ask(server)
    first = _Server(reference.url, reference.stats, reference.object_info)
    lacking = _missing_files(server, reference.api, one.object_info)
    _refuse({one.url: one.misfits(reference.api) + one.differences(first, reference.api) + lacking})
    told = _ingredients(server, reference.api)
    _refuse({one.url: list(told.unready.values()) or _unlike(told, reference.ingredients, reference.url)})
    return (*one.warnings(reference.api), *one.unevenness(first))


def _missing_files(server: ComfyServer, api: Api, object_info: dict[str, Any]) -> list[str]:
    try:
        return missing_files(server, api, object_info)
    except ServerFault as fault:
        raise unusable(server.url, fault) from None


def _ingredients(server: ComfyServer, api: Api) -> Ingredients:
    try:
        return server.ingredients(api)
    except (ServerFault, PromptRefused) as fault:
        raise unusable(server.url, fault) from None


def _unlike(mine: Ingredients, theirs: Ingredients, url: str) -> list[str]:
    """In what a server's weights, code, prompts and profiles, and what is said of their terms, differ from another's."""
    names = sorted(name for name in mine.terms | theirs.terms if mine.terms.get(name) != theirs.terms.get(name))
    terms = [f"VLM profile {name!r} has another licence or outputs_may_train" for name in names]
    return [f"unlike {url}, {one}" for one in (*mine.differences(theirs), *terms)]


@dataclass(frozen=True)
class _Server:
    """A server in its own words."""

    url: str
    stats: dict[str, Any]
    object_info: dict[str, Any]

    @classmethod
    def ask(cls, server: ComfyServer) -> _Server:
        try:
            return cls(server.url, server.system_stats(), server.object_info())
        except (ServerFault, PromptRefused) as fault:
            raise unusable(server.url, fault) from None

    def misfits(self, api: Api) -> list[str]:
        """Why it cannot run the graph."""
        if SOURCE_CLASS not in self.object_info:
            return ["has no EditPairs nodes: install this pack there and restart it"]
        try:
            check(api, self.object_info)
        except RunError as error:
            return [str(error)]
        return []

    def differences(self, other: _Server, api: Api) -> list[str]:
        """In what it differs from another server, of what decides the graph's results."""
        found = []
        version, others = (str(one.stats["system"]["comfyui_version"]) for one in (self, other))
        if version != others:
            found.append(f"is ComfyUI {version}, {other.url} is {others}")
        for name in sorted({node["class_type"] for node in api.values()}):
            mine, theirs = (_signature(one.object_info.get(name, {})) for one in (self, other))
            if mine and theirs and (odd := sorted(key for key in mine | theirs if mine.get(key) != theirs.get(key))):
                found.append(f"{name} has other {', '.join(odd)} than on {other.url}")
        if not found and (odd_node := _first_difference(self.object_info, other.object_info)):
            found.append(f"has another version of EditPairs than {other.url} ({odd_node} differs)")
        return found

    def warnings(self, api: Api) -> list[str]:
        """What would be better in how it was started."""
        system = self.stats["system"]
        flags = {str(word).partition("=")[0] for word in system.get("argv", [])}
        found = []
        if int(system.get("ram_total", 0)) > BIG_HOST_BYTES and not flags & _CACHES:
            found.append(
                "its cache grows until only 128 GB of memory are free, which a container may not have: "
                "start it with --cache-lru 64, or more for large packs"
            )
        for name in sorted({node["class_type"] for node in api.values()}):
            if (files := _listed_files(self.object_info.get(name, {}))) > MANY_FILES:
                found.append(f"{name} lists {files} files of its input folder for every prompt: empty that folder")
        return [f"{self.url}: {one}" for one in found]

    def unevenness(self, other: _Server) -> list[str]:
        """In what it differs from another server without being wrong."""
        found = []
        torch, others = (str(one.stats["system"].get("pytorch_version", "unknown")) for one in (self, other))
        if torch != others:
            found.append(f"{self.url}: has torch {torch}, {other.url} has {others}: pixels may differ slightly")
        if self._kinds() != other._kinds():
            mine, theirs = ("/".join(sorted(one._kinds())) for one in (self, other))
            found.append(f"{self.url}: computes on {mine}, {other.url} on {theirs}")
        return found

    def _kinds(self) -> set[str]:
        return {str(device["type"]) for device in self.stats["devices"]}


def _refuse(findings: dict[str, list[str]], alone: bool = False) -> None:
    """Raises RunError where there are any, servers with the same finding together.

    Args:
        alone: whether there is no other server.
    """
    urls_by_finding: dict[str, list[str]] = {}
    for url, found in findings.items():
        for finding in found:
            urls_by_finding.setdefault(finding, []).append(url)
    if not urls_by_finding:
        return
    lines = [f"{', '.join(urls)}: {finding}" for finding, urls in urls_by_finding.items()]
    more = f"; and {len(lines) - SHOWN} more differences" if len(lines) > SHOWN else ""
    instead = "" if alone else ", or leave the server out of --server"
    raise RunError("; ".join(lines[:SHOWN]) + more + f"; mend this there{instead}")


def _signature(node: dict[str, Any]) -> dict[str, Any]:
    """What a node takes and gives, by name, as far as results depend on it; choices of combos are for `check`."""
    found: dict[str, Any] = {f"input {name}": _kind(spec) for name, spec in inputs_by_name(node).items()}
    if found:
        found["outputs"] = outputs_of(node)
    return found


def _kind(spec: Any) -> Any:
    if not isinstance(spec, list) or not spec:
        return spec
    if isinstance(spec[0], list) or spec[0] == "COMBO":
        return "COMBO"
    options = settings_of(spec)
    if spec[0] not in ("INT", "FLOAT", "BOOLEAN", "STRING"):
        return spec[0]
    return [spec[0], *(options.get(name) for name in _NUMBERS)]


def _first_difference(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first of our nodes that two servers describe in different words: then one has another version of the pack."""
    names = sorted(name for name in mine.keys() | theirs.keys() if name.startswith("EditPairs"))
    return next((name for name in names if _words(mine.get(name)) != _words(theirs.get(name))), "")


def _words(node: dict[str, Any] | None) -> Any:
    if node is None:
        return None
    tooltips = {name: settings_of(spec).get("tooltip") for name, spec in inputs_by_name(node).items()}
    return node.get("display_name"), node.get("description"), _signature(node), tooltips


def _listed_files(node: dict[str, Any]) -> int:
    """How many files a node offers from the input folder, which it lists whenever it is checked."""
    specs = (spec for spec in required_of(node).values() if settings_of(spec).get("image_upload"))
    return max((len(listed_in(spec) or []) for spec in specs), default=0)
