"""The prompts as files: `prompts/<id>.md`, each with id, version, purpose and source on top, and their table of contents.

Nodes' askers build questions from them. A changed text needs a changed version, since records and caches name it: the
table holds every version's hash, and a text that its version does not fit is refused.
`python -m comfy_nodes.vlm.questions.prompt_files` takes down new versions.
"""

from __future__ import annotations

import hashlib
import json
import string
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from ..asking import Question

FOLDER = Path(__file__).resolve().parents[1] / "prompts"
CONTENTS = "contents.json"
_PARTS = ("system", "frame", "shape")
_HEAD = ("id", "version", "purpose", "source")


class PromptError(ValueError):
    """A prompt file that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class PromptFile:
    """One file as it lies there."""

    id: str
    version: str
    purpose: str
    source: str
    """The protocol that it follows, or `ours`."""
    parts: tuple[tuple[str, str], ...]
    """The files that it takes in, by role: system text, frame, reply shape."""
    text: str
    sha256: str
    """Of the whole file."""


@dataclass(frozen=True)
class Prompt:
    """A prompt with its parts put together."""

    id: str
    version: str
    """The file's version and those of its parts in order, such as `1.1.2`: one of them changes whenever a word does."""
    purpose: str
    system: str
    user: str
    """With `$names` where values go in."""

    def question(
        self,
        values: Mapping[str, object],
        reply: type[BaseModel],
        images: Sequence[np.ndarray] = (),
        max_tokens: int = 1024,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Question:
        """The question that it asks with these values in it.

        Values go in once and are not read again, so a `$` or a brace in a caption harms nothing.

        Raises:
            KeyError: a value is missing.
        """
        return Question(
            prompt_id=self.id,
            prompt_version=self.version,
            system=self.system,
            user=string.Template(self.user).substitute(values),
            images=tuple(images),
            reply=reply,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )


@cache
def prompt(prompt_id: str, folder: Path = FOLDER) -> Prompt:
    """The prompt called `prompt_id`, with its parts.

    Raises:
        PromptError: missing, broken, or changed without a new version.
    """
    own = _listed(prompt_id, folder)
    parts = {role: _listed(name, folder) for role, name in own.parts}
    user = own.text
    if "frame" in parts:
        shape = parts["shape"].text if "shape" in parts else ""
        # The frame keeps its other `$names` for `question`; the rules may hold some, too.
        user = string.Template(parts["frame"].text).safe_substitute(rules=own.text, shape=shape)
    return Prompt(
        id=own.id,
        version=".".join([own.version, *(part.version for part in parts.values())]),
        purpose=own.purpose,
        system=parts["system"].text if "system" in parts else "",
        user=user,
    )


def read(path: Path) -> PromptFile:
    """One prompt file.

    Raises:
        PromptError: unreadable, or its head is not four or more lines `name: value` between two lines `---`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PromptError(
            f"prompt {path.stem}: cannot be read ({error.strerror}); known: {_names(path.parent)}"
        ) from None
    # The same hash whichever line ends a checkout has.
    whole = data.decode("utf-8").replace("\r\n", "\n")
    fence, _, rest = whole.partition("---\n")
    head, closed, text = rest.partition("---\n")
    fields = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    missing = [name for name in _HEAD if not fields.get(name)]
    if fence or not closed or missing or fields["id"] != path.stem:
        why = "it begins with no head that bears its name"
        if closed and missing:
            why = f"its head lacks {', '.join(missing)}"
        raise PromptError(f"prompt {path.stem}: {why}; write id, version, purpose and source between two lines ---")
    return PromptFile(
        id=fields["id"],
        version=fields["version"],
        purpose=fields["purpose"],
        source=fields["source"],
        parts=tuple((role, fields[role]) for role in _PARTS if role in fields),
        text=text.strip(),
        sha256=hashlib.sha256(whole.encode()).hexdigest(),
    )


def take_down(folder: Path = FOLDER) -> list[str]:
    """Writes the table of contents anew; hashes of versions that it knows already must fit.

    Returns:
        The ids of new or newly versioned prompts.

    Raises:
        PromptError: a text changed and its version did not.
    """
    known = _contents(folder)
    contents: dict[str, dict[str, object]] = {}
    new = []
    for path in sorted(folder.glob("*.md")):
        file = read(path)
        versions = dict(known.get(file.id, {}).get("versions", {}))
        if versions.setdefault(file.version, file.sha256) != file.sha256:
            raise PromptError(_changed(file))
        if file.version not in known.get(file.id, {}).get("versions", {}):
            new.append(file.id)
        contents[file.id] = {
            "purpose": file.purpose,
            "source": file.source,
            "version": file.version,
            "versions": versions,
        }
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return new


def _listed(prompt_id: str, folder: Path) -> PromptFile:
    file = read(folder / f"{prompt_id}.md")
    if _contents(folder).get(file.id, {}).get("versions", {}).get(file.version) != file.sha256:
        raise PromptError(_changed(file))
    return file


def _changed(file: PromptFile) -> str:
    return (
        f"prompt {file.id}: its text is not that of version {file.version}; give it a new version "
        "and run python -m comfy_nodes.vlm.questions.prompt_files"
    )


def _contents(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    path = folder / CONTENTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _names(folder: Path) -> str:
    return ", ".join(sorted(path.stem for path in folder.glob("*.md")))


if __name__ == "__main__":
    try:
        taken = take_down()
    except PromptError as error:
        sys.exit(str(error))
    print(f"taken down: {', '.join(taken) or 'nothing new'}")
