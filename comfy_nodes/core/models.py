"""A model that took part in making a pair, as rows and the stages before them tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

WRITERS = ("writer", "rewriter")
"""Roles of what is named as its replies call it."""

NO_MODELS = frozenset({"template", "classical", "user"})
"""Writers that are none: sentences of EditPairs, and people."""

_SAID = re.compile(r"\(outputs may train: (yes|no)\)$")


class Model(BaseModel):
    """A set of weights, or a service, that took part."""

    model_config = ConfigDict(frozen=True)

    role: str
    name: str
    sha256: str | None = None
    revision: str | None = None
    licence: str | None = None
    """Of weights as the model table calls it; of a service as `service_licence` writes it."""


def service_licence(terms: Mapping[str, str]) -> str | None:
    """What a row says of a service's licence; None where its operator has said nothing.

    Args:
        terms: `licence` and `outputs_may_train` of its profile, as far as said.
    """
    may = f"(outputs may train: {terms['outputs_may_train']})" if "outputs_may_train" in terms else ""
    return " ".join(filter(None, (terms.get("licence") or (may and "terms not named"), may))) or None


def said_to_train(licence: str) -> str:
    """`yes` or `no`: what `service_licence` wrote of outputs; empty where it wrote nothing."""
    found = _SAID.search(licence)
    return found[1] if found else ""


def each_once(found: Iterable[Model]) -> tuple[Model, ...]:
    """Models without those that stand twice, writers with the licence that is known of their names.

    A service may call itself longer than it was asked for, as gpt-4o-2024-11-20 for gpt-4o.
    """
    models = tuple(found)
    known = {one.name: one.licence for one in models if one.licence}
    once = {(one.role, one.name, one.revision): one for one in models}
    return tuple(_licensed(one, known) if one.role in WRITERS and not one.licence else one for one in once.values())


def _licensed(one: Model, known: Mapping[str, str]) -> Model:
    like = max((name for name in known if one.name.startswith(name)), key=len, default="")
    return one.model_copy(update={"licence": known[like]}) if like else one
