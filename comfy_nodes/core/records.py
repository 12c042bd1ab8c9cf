"""The record of one edit: what `Save Edit Pair` writes beside its images and the driver turns into a row."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from .keys import FileName, FolderInside, Key, checked_key
from .models import Model
from .regions.annotation import Region
from .regions.rle import Rle
from .validation import first_fault
from .verdicts.verdicts import Judge, Verdict, Voice

SCHEMA_VERSION = 1

LONGEST_REASON = 2_000
"""Characters of a failure's message that are kept. Ours."""

Version = Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]
Pixels = Annotated[int, Field(ge=1, lt=2**31)]
Coordinate = Annotated[float, Field(ge=-(2.0**31), le=2.0**31, allow_inf_nan=False)]
Box = tuple[Coordinate, Coordinate, Coordinate, Coordinate]


def _storable(text: Any) -> Any:
    """Words as every file can hold them: no half surrogates, which JSON can spell and UTF-8 cannot, and not without end."""
    if not isinstance(text, str):
        return text
    return text[:LONGEST_REASON].encode("utf-8", "replace").decode()


Words = Annotated[str, BeforeValidator(_storable)]


def read_json(data: bytes) -> Any:
    """Decodes what a sink wrote.

    Raises:
        ValueError: not JSON, or what only some readers take for it: NaN, Infinity, half surrogates, 200 levels and more.
    """
    return from_json(data, allow_inf_nan=False)


class SavedFile(BaseModel):
    """A file that a sink saved, addressed as ComfyUI's `/view` does."""

    model_config = ConfigDict(frozen=True)

    filename: FileName
    subfolder: FolderInside
    type: Literal["output", "temp", "input"]
    sha256: str


def records_name(key: str) -> str:
    """Name of the file that holds all that a sink returned of a sample; written last, so what it lists is whole."""
    return f"{checked_key(key)}.records.json"


class Score(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    value: float = Field(allow_inf_nan=False)


@dataclass(frozen=True)
class SampleFailure:
    """Why a sample has no record: a line of `failed.parquet`, or of `skipped.parquet`."""

    stage: Words
    """`input`, `annotate`, `write`, `edit` or `verify`."""
    error_type: Words
    message: Words
    node: Words = ""
    """Class and id of the node that failed, where one did."""
    skipped: bool = False
    """Whether nothing went wrong: the sample is sound, and its task cannot use it. Whoever judges that says so."""


class Basis(BaseModel):
    """What decided a record's pixels and words beside its graph, its photo and itself."""

    model_config = ConfigDict(frozen=True)

    ingredients: Words = ""
    """SHA-256 of `core.ingredients.Ingredients`, as the server saw them when it saved the record."""
    upstream: Words = ""
    """Hash of the stage that left the input's line; empty where none did."""
    pictures: dict[Words, Words] = {}
    """Hashes of the pixels of further pictures, by role."""
    models: tuple[Model, ...] = ()
    """What took part in the stages before; `upstream` hashes what they did with it."""


class FailureRecord(BaseModel):
    """What a sink returns of a sample that a node before it gave up on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Version = SCHEMA_VERSION
    key: Key
    failure: SampleFailure


class RegionRecord(BaseModel):
    """A region that the edit is about and the operation done to it, in the output's coordinates."""

    model_config = ConfigDict(frozen=True)

    op: str
    class_name: str | None
    bbox: Box
    mask: Rle | None

    @classmethod
    def of(cls, op: str, region: Region) -> RegionRecord:
        return cls(op=op, class_name=region.class_name, bbox=region.bbox, mask=region.mask)


class AnnotationRecord(BaseModel):
    """One photo's annotation: what `Save Annotation` writes and returns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Version = SCHEMA_VERSION
    key: Key
    annotation: dict[str, Any]
    """ImgEdit's annotation JSON of the photo, with extra columns."""
    file: SavedFile
    """The JSON file that the sink wrote."""
    basis: Basis = Basis()


class PhotoRecord(AnnotationRecord):
    """One photo that was made: what `Save Photo` writes and returns. `file` is the picture; the annotation is that of the
    sample that it was made for, with a `synthetic` of prompt and seed."""


CARRIED = (
    "lang", "initial_prompt", "editor_prompt", "regions", "edit_mask", "models", "source_id", "source_path",
    "source_sha256", "source_licence", "source_url", "crop", "seed", "scores", "turn", "derived_kind", "derived_from",
)  # fmt: skip
"""Fields of a record that another verdict on the same edit leaves as they are; its scores are added to."""


class TurnRecord(BaseModel):
    """Which turn of which dialogue an edit is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialogue: Key
    number: int = Field(ge=1)
    of: int = Field(ge=1)
    """Turns that the dialogue was planned with."""
    base: int = Field(ge=0)
    """The state that it starts from: 0 is the picture before all turns, n the one after turn n."""
    op: str
    premise: Words = ""
    """What all turns of a dialogue with a memory obey."""
    mask_from: str = "photo"
    """Where its region comes from: `photo`, `carried` along through earlier turns, or `regrounded` in the picture."""


PROMPTS = {"en": "prompt_en", "zh": "prompt_cn"}
"""Fields of a record that hold its instruction in each language, by UnicEdit's names: all of them, or none."""


class EditRecord(BaseModel):
    """One edit pair. Field by field the columns of a dataset row that are known where the edit was made."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Version = SCHEMA_VERSION
    key: Key
    task: str
    made_as: str = ""
    """The task that it was made for, where a restated instruction is of another."""
    made_as_subtask: str = ""
    """That task's kind of edit, which the row has no more."""
    subtask: str = ""
    slot: str = ""
    lang: str = "en"
    input_images: tuple[SavedFile, ...]
    output_images: tuple[SavedFile, ...]
    prompt: str
    initial_prompt: str | None = None
    restated_prompt: str | None = None
    editor_prompt: str | None = None
    prompt_en: str | None = None
    prompt_cn: str | None = None
    verdict: Verdict
    reject_reason: str = ""
    vouched_by: tuple[Voice, ...] = ()
    """Who let a kept edit pass; empty of all others."""
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
    crop: Box | None = None
    seed: int = Field(ge=0, lt=2**63)
    width: Pixels
    height: Pixels
    turn: TurnRecord | None = None
    """Of a dialogue's turn; None of all other edits."""
    derived_kind: str = ""
    """How it was derived from other rows, without another edit; empty where it was edited."""
    derived_from: tuple[Key, ...] = ()
    """Keys of the rows that it was derived from."""
    basis: Basis = Basis()

    def with_carried(self, carried: dict[str, Any]) -> EditRecord:
        """The record of an edit that was made and recorded before, with what was known of it.

        Args:
            carried: values of `CARRIED` fields. Of a score that was measured again the new value counts.

        Raises:
            ValueError: a value is of another shape.
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
        try:
            return EditRecord.model_validate({**self.model_dump(), **changed})
        except ValidationError as error:
            raise ValueError(f"what the row says of its edit cannot be kept ({first_fault(error)})") from None
