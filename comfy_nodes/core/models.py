"""A model that took part in making a pair, as rows and the stages before them tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict

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
    """Models without those that stand twice; a licence that is known of a name holds wherever it is named."""
    models = tuple(found)
    known = {one.name: one.licence for one in models if one.licence}
    licensed = (
        one if one.licence or one.name not in known else one.model_copy(update={"licence": known[one.name]})
        for one in models
    )
    return tuple({(one.role, one.name, one.revision): one for one in licensed}.values())
