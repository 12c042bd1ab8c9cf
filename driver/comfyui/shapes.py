"""What of ComfyUI's answers (0.30) is used, and in which shape: anything else is a fault of the server.

Called by `client.py` alone. Knows no HTTP.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from comfy_nodes.core.services import redaction

from ..terminal import plain


def _without_none(value: Any) -> Any:
    return {} if value is None else value


def _first_line(value: Any) -> str:
    return (str(value).strip().splitlines() or ["no message"])[0]


_Fields = Annotated[dict[str, Any], BeforeValidator(_without_none)]
_Text = Annotated[str, BeforeValidator(lambda value: redaction.clean(plain(str(value))))]
"""A server's words, as one short line without keys."""


class System(BaseModel):
    """What of `/system_stats` is used; the rest is kept as it is."""

    model_config = ConfigDict(extra="allow")

    comfyui_version: str
    pytorch_version: str = "unknown"
    ram_total: int = 0
    ram_free: int = 0
    argv: list[str] = Field(default_factory=list)


class Device(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    type: str
    vram_total: int = 0


class Stats(BaseModel):
    model_config = ConfigDict(extra="allow")

    system: System
    devices: list[Device] = Field(min_length=1)


class Inputs(BaseModel):
    model_config = ConfigDict(extra="allow")

    required: _Fields = Field(default_factory=dict)
    optional: _Fields = Field(default_factory=dict)


class Node(BaseModel):
    """A node's schema, as far as everything that reads it counts on its shape."""

    model_config = ConfigDict(extra="allow")

    input: Inputs = Field(default_factory=Inputs)
    output: list[Any] = Field(default_factory=list)


class Uploaded(BaseModel):
    name: str
    subfolder: str


class Error(BaseModel):
    message: _Text
    details: _Text = ""


class NodeErrors(BaseModel):
    class_type: _Text
    errors: list[Error]


_Complaints = Annotated[dict[str, NodeErrors], BeforeValidator(lambda value: value or {}), Field(default_factory=dict)]
"""Nodes that ComfyUI refused, by id."""


class Queued(BaseModel):
    prompt_id: str
    node_errors: _Complaints


class Refusal(BaseModel):
    """What a 400 says."""

    error: Error | _Text
    node_errors: _Complaints


class NodeFailure(BaseModel):
    exception_type: _Text = "unknown"
    exception_message: Annotated[_Text, BeforeValidator(_first_line)] = "the server gave no reason"
    node_id: _Text = ""
    node_type: _Text = ""


class JobItem(BaseModel):
    status: Literal["pending", "in_progress", "completed", "failed", "cancelled"]
    outputs: _Fields = Field(default_factory=dict)
    execution_error: Annotated[NodeFailure, BeforeValidator(_without_none)] = Field(default_factory=NodeFailure)
    execution_start_time: float | None = Field(None, allow_inf_nan=False)
    execution_end_time: float | None = Field(None, allow_inf_nan=False)


class Folder(BaseModel):
    name: str


class ModelFile(BaseModel):
    name: str
    size: int
