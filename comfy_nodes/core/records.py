"""The record of one edit: what `Save Edit Pair` writes beside its images and the driver turns into a row."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from .annotation import Region
from .rle import Rle
from .verdicts import Judge, Verdict

SCHEMA_VERSION = 1


class SavedFile(BaseModel):
    """A file that a sink saved, addressed as ComfyUI's `/view` does."""

    model_config = ConfigDict(frozen=True)

    filename: str
    subfolder: str
    type: str
    sha256: str


def records_name(key: str) -> str:
    """Name of the file that holds all that a sink returned of a sample; written last, so what it lists is whole."""
    return f"{key}.records.json"


class Score(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    value: float = Field(allow_inf_nan=False)


class Model(BaseModel):
    """A set of weights that took part."""

    model_config = ConfigDict(frozen=True)

    role: str
    name: str
    sha256: str | None = None
    revision: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class SampleFailure:
    """Why a sample has no record: a line of `failed.parquet`."""

    stage: str
    """`input`, `edit`, `write`, `annotate` or `output`."""
    error_type: str
    message: str
    node: str = ""
    """Class and id of the node that failed, where one did."""


class FailureRecord(BaseModel):
    """What a sink returns of a sample that a node before it gave up on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    key: str
    failure: SampleFailure


class RegionRecord(BaseModel):
    """A region that the edit is about and the operation done to it, in the output's coordinates."""

    model_config = ConfigDict(frozen=True)

    op: str
    class_name: str | None
    bbox: tuple[float, float, float, float]
    mask: Rle | None

    @classmethod
    def of(cls, op: str, region: Region) -> RegionRecord:
        return cls(op=op, class_name=region.class_name, bbox=region.bbox, mask=region.mask)


class AnnotationRecord(BaseModel):
    """One photo's annotation: what `Save Annotation` writes and returns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    key: str
    annotation: dict[str, Any]
    """ImgEdit's annotation JSON of the photo, with extra columns."""
    file: SavedFile
    """The JSON file that the sink wrote."""


CARRIED = (
    "lang", "initial_prompt", "editor_prompt", "regions", "edit_mask", "models", "source_id", "source_path",
    "source_sha256", "source_licence", "source_url", "crop", "seed", "scores",
)  # fmt: skip
"""Fields of a record that another verdict on the same edit leaves as they are; its scores are added to."""


class EditRecord(BaseModel):
    """One edit pair. Field by field the columns of a dataset row that are known where the edit was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: int = SCHEMA_VERSION
    key: str
    task: str
    made_as: str = ""
    """The task that it was made for, where a restated instruction is of another."""
    subtask: str = ""
    slot: str = ""
    lang: str = "en"
    input_images: tuple[SavedFile, ...]
    output_images: tuple[SavedFile, ...]
    prompt: str
    initial_prompt: str | None = None
    restated_prompt: str | None = None
    editor_prompt: str | None = None
    verdict: Verdict
    reject_reason: str = ""
    scores: tuple[Score, ...] = ()
    judge: Judge | None = None
    regions: tuple[RegionRecord, ...] = ()
    edit_mask: Rle | None = None
    models: tuple[Model, ...] = ()
    source_id: str
    source_path: str
    source_sha256: str
    source_licence: str | None = None
    source_url: str | None = None
    crop: tuple[float, float, float, float] | None = None
    seed: int = Field(ge=0)
    width: int
    height: int

    def with_carried(self, carried: dict[str, Any]) -> EditRecord:
        """The record of an edit that was made and recorded before, with what was known of it.

        Args:
            carried: values of `CARRIED` fields. Of a score that was measured again the new value counts.

        Raises:
            pydantic.ValidationError: a value is of another shape.
        """
        known = {name: value for name, value in carried.items() if name in CARRIED and name != "scores"}
        if self.made_as and "regions" in known:
            known["regions"] = [{**one, "op": self.task} for one in known["regions"]]
        scores = {one["name"]: one["value"] for one in carried.get("scores", ())}
        scores |= {one.name: one.value for one in self.scores}
        told = [{"name": name, "value": value} for name, value in scores.items()]
        initial = known.get("initial_prompt") or self.initial_prompt or self.prompt
        restated = self.restated_prompt or (self.prompt if self.prompt != initial else None)
        changed = {**known, "initial_prompt": initial, "restated_prompt": restated, "scores": told}
        return EditRecord.model_validate({**self.model_dump(), **changed})
