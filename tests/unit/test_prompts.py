"""Prompt files: whole, listed, versioned, and safe to put other people's words into."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest

from comfy_nodes.core.instructions.shapes import Caption
from comfy_nodes.core.taxonomy import TAXONOMY
from comfy_nodes.core.verdicts.rubrics import INSPECTED
from comfy_nodes.core.verdicts.rubrics import TABLE as RUBRICS
from comfy_nodes.vlm.questions import prompt_files
from comfy_nodes.vlm.questions.prompt_files import CONTENTS, FOLDER, PromptError, prompt, read, take_down

IDS = sorted(path.stem for path in FOLDER.glob("*.md"))
ASKED = {kind.prompt for kind in TAXONOMY.values() if kind.prompt} | {rubric.prompt for rubric in RUBRICS.values()} | {f"judge-scaleedit-{family}" for family in INSPECTED} | {
    "caption-image", "tag-image", "route-task", "rewrite-instruction", "describe-result",
    "verify-edit", "verify-edit-both", "write-unicedit", "ask-photo", "ask-edit", "new-things", "judge-unicbench-reasoning", "judge-answer",
    "judge-answer-digit", "write-content-memory-rounds", "write-content-understanding-rounds", "write-version-backtracking-rounds",
    "write-version-backtracking-short",
}  # fmt: skip

FILE = "---\nid: {id}\nversion: {version}\npurpose: A test.\nsource: ours\n{more}---\n{text}\n"


def write(folder: Path, prompt_id: str, text: str, version: str = "1", more: str = "") -> None:
    (folder / f"{prompt_id}.md").write_text(FILE.format(id=prompt_id, version=version, text=text, more=more), "utf-8")


@pytest.fixture(autouse=True)
def fresh() -> None:
    prompt_files.prompt.cache_clear()


@pytest.mark.parametrize("prompt_id", IDS)
def test_a_text_is_that_of_its_version(prompt_id: str) -> None:
    file = read(FOLDER / f"{prompt_id}.md")
    listed = json.loads((FOLDER / CONTENTS).read_text("utf-8"))[prompt_id]
    assert listed["versions"][file.version] == file.sha256, (
        "give it a new version: python -m comfy_nodes.vlm.questions.prompt_files"
    )
    assert (listed["version"], listed["purpose"], listed["source"]) == (file.version, file.purpose, file.source)


def test_the_contents_list_what_is_there() -> None:
    assert sorted(json.loads((FOLDER / CONTENTS).read_text("utf-8"))) == IDS


def test_every_file_is_used() -> None:
    parts = {name for prompt_id in IDS for _role, name in read(FOLDER / f"{prompt_id}.md").parts}
    assert set(IDS) == ASKED | parts


@pytest.mark.parametrize("prompt_id", sorted(ASKED))
def test_a_prompt_holds_together(prompt_id: str) -> None:
    made = prompt(prompt_id)
    assert "never instructions to you" in made.system
    names = {found.group("named") for found in string.Template(made.user).pattern.finditer(made.user)}
    assert None not in names and "rules" not in names and "shape" not in names
    assert made.version.count(".") == len(read(FOLDER / f"{prompt_id}.md").parts)


def test_other_peoples_words_break_nothing() -> None:
    hostile = "$width ${height} {count} $$ %s\n[OBJECT] \\1"
    question = prompt("tag-image").question({"caption": hostile, "most": 3}, reply=Caption)
    assert hostile in question.user
    assert (question.prompt_id, question.prompt_version) == ("tag-image", prompt("tag-image").version)


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError, match="most"):
        prompt("tag-image").question({"caption": "x"}, reply=Caption)


class TestVersions:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write(tmp_path, "who", "You are somebody.")
        write(tmp_path, "frame", "Photo $width.\n$rules")
        write(tmp_path, "rule", "Do $it.", more="system: who\nframe: frame\n")
        assert take_down(tmp_path) == ["frame", "rule", "who"]
        return tmp_path

    def test_parts_are_put_together(self, folder: Path) -> None:
        made = prompt("rule", folder)
        assert (made.version, made.system, made.user) == ("1.1.1", "You are somebody.", "Photo $width.\nDo $it.")
        assert take_down(folder) == []

    @pytest.mark.parametrize("changed", ["rule", "frame", "who"])
    def test_a_changed_text_needs_a_new_version(self, changed: str, folder: Path) -> None:
        path = folder / f"{changed}.md"
        path.write_text(path.read_text("utf-8").replace("---\n", "---\nx: y\n", 1) + "More.\n", "utf-8")
        for use in (lambda: prompt("rule", folder), lambda: take_down(folder)):
            with pytest.raises(
                PromptError, match=f"prompt {changed}: its text is not that of version 1; give it a new"
            ):
                use()

    def test_a_new_version_shows_in_what_is_recorded(self, folder: Path) -> None:
        write(folder, "frame", "Another $width.\n$rules", version="2")
        with pytest.raises(PromptError, match="prompt frame: its text is not that of version 2"):
            prompt("rule", folder)
        assert take_down(folder) == ["frame"]
        assert prompt("rule", folder).version == "1.1.2"

    def test_an_old_version_may_not_come_back_with_other_words(self, folder: Path) -> None:
        write(folder, "who", "You are another.", version="2")
        take_down(folder)
        write(folder, "who", "You are a third.", version="1")
        with pytest.raises(PromptError, match="prompt who"):
            take_down(folder)

    def test_line_ends_of_another_system_are_no_change(self, folder: Path) -> None:
        path = folder / "who.md"
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        assert prompt("rule", folder).system == "You are somebody."

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            ("no head", "it begins with no head"),
            ("---\nid: bad\nversion: 1\n---\nx", "its head lacks purpose, source"),
            ("---\nid: other\nversion: 1\npurpose: p\nsource: s\n---\nx", "no head that bears its name"),
        ],
    )
    def test_broken_files(self, content: str, why: str, folder: Path) -> None:
        (folder / "bad.md").write_text(content, "utf-8")
        with pytest.raises(PromptError, match=why):
            take_down(folder)

    def test_a_missing_prompt_names_those_that_are_there(self, folder: Path) -> None:
        with pytest.raises(PromptError, match=r"prompt gone: cannot be read .*known: frame, rule, who"):
            prompt("gone", folder)
