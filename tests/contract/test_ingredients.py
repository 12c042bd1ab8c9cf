"""What a server says that it makes a graph's pixels and words with: code, weights and pictures by content, not by name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

OURS = {"1": {"class_type": "EditPairsLoadSample", "inputs": {"image": "a.png", "task": "remove"}},
        "2": {"class_type": "EditPairsClassicalInpaint", "inputs": {"image": ["1", 1], "method": "telea"}},
        "3": {"class_type": "VAELoader", "inputs": {"vae_name": "pixel_space"}}}  # fmt: skip


@pytest.fixture
def ingredients(pack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with the models folders `vae` and `checkpoints` of this test alone."""
    import folder_paths

    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    for kind in ("vae", "checkpoints"):
        (tmp_path / kind).mkdir()
        found = ([str(tmp_path / kind)], folder_paths.folder_names_and_paths[kind][1])
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, found)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return pack.part("routes.ingredients")


def graph(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"1": {"class_type": class_type, "inputs": inputs}}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TestCode:
    def test_core_and_this_pack_are_no_other_packs(
        self, ingredients: Any, pack: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import nodes

        for name in ("EditPairsLoadSample", "EditPairsClassicalInpaint"):
            called = "custom_nodes.whatever-it-is-called"
            monkeypatch.setattr(pack.nodes[name], "RELATIVE_PYTHON_MODULE", called, raising=False)
            monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, pack.nodes[name])
        found = ingredients.of(OURS)
        assert (found.packs, found.weights) == ({}, {})
        assert len(found.code) == 64
        assert found.prompts["judge-add"].startswith("1 ") and len(found.prompts) > 40

    def test_another_packs_code_counts_whatever_its_folder_is_called(
        self, ingredients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import nodes

        def code(folder: str, **files: str) -> str | None:
            for name, text in files.items():
                path = tmp_path / folder / f"{name.replace('__', '/')}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
            node = type("Foreign", (), {"RELATIVE_PYTHON_MODULE": f"custom_nodes.{folder}", "__module__": folder})
            monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, folder, node)
            monkeypatch.setitem(nodes.LOADED_MODULE_DIRS, folder, str(tmp_path / folder))
            return ingredients.of(graph(folder)).packs[folder]

        one = code("one", nodes="a = 1\n", lib__edit="b = 2\n")
        same = code("same", nodes="a = 1\r\n", lib__edit="b = 2\n", tests__test_it="c\n", docs__make="d\n")
        assert one == same
        others = [code("text", nodes="a = 2\n", lib__edit="b = 2\n"), code("less", nodes="a = 1\n")]
        assert len({one, *others}) == 3


class TestFiles:
    def test_weights_are_found_by_the_loaders_name(self, ingredients: Any, tmp_path: Path) -> None:
        (tmp_path / "vae" / "flux").mkdir()
        (tmp_path / "vae" / "flux" / "ae.safetensors").write_bytes(b"one")
        asked = graph("VAELoader", vae_name="flux/ae.safetensors")
        assert ingredients.of(asked).weights == {"flux/ae.safetensors": sha256(b"one")}
        (tmp_path / "vae" / "flux" / "ae.safetensors").write_bytes(b"two")
        assert ingredients.of(asked).weights == {"flux/ae.safetensors": sha256(b"two")}

    def test_of_two_of_one_name_the_one_that_the_loader_offers(self, ingredients: Any, tmp_path: Path) -> None:
        for kind in ("vae", "checkpoints"):
            (tmp_path / kind / "same.safetensors").write_bytes(kind.encode())
        (tmp_path / "checkpoints" / "more.safetensors").write_bytes(b"x")
        assert ingredients.of(graph("VAELoader", vae_name="same.safetensors")).weights == {
            "same.safetensors": sha256(b"vae")
        }
        # Of a node whose list says nothing, both count.
        unknown = ingredients.of(graph("Foreign", file="same.safetensors")).weights["same.safetensors"]
        assert unknown not in (None, sha256(b"vae"), sha256(b"checkpoints"))
        (tmp_path / "checkpoints" / "same.safetensors").write_bytes(b"y")
        assert ingredients.of(graph("Foreign", file="same.safetensors")).weights["same.safetensors"] != unknown

    def test_a_folder_in_hub_format(self, ingredients: Any, tmp_path: Path) -> None:
        folder = tmp_path / "vae" / "sam2-tiny"
        folder.mkdir()
        (folder / "config.json").write_bytes(b"{}")
        before = ingredients.of(graph("EditPairsLoadSam2", model="sam2-tiny")).weights["sam2-tiny"]
        (folder / "model.safetensors").write_bytes(b"w")
        assert ingredients.of(graph("EditPairsLoadSam2", model="sam2-tiny")).weights["sam2-tiny"] != before

    @pytest.mark.parametrize(
        "name", ["not-there.safetensors", "../secret.bin", "/etc/passwd.bin", "a\0b.bin", f"{'long ' * 100}.bin"]
    )
    def test_what_is_in_no_models_folder_has_no_hash(self, ingredients: Any, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret.bin").write_bytes(b"x")
        assert ingredients.of(graph("VAELoader", vae_name=name)).weights == {name: None}

    def test_a_picture_that_the_graph_itself_names(self, ingredients: Any, folders: Path) -> None:
        (folders / "input" / "style.png").write_bytes(b"p")
        (folders / "secret.png").write_bytes(b"x")
        names = ("style.png", "../secret.png", "gone.png", f"{'make it like ' * 40}a.png", "a\0b.png")
        found = {name: ingredients.of(graph("LoadImage", image=name)).pictures[name] for name in names}
        assert found == {name: sha256(b"p") if name == "style.png" else None for name in names}
        # Of our own loaders another picture counts for each sample.
        assert ingredients.of(graph("EditPairsLoadSecondImage", image="style.png")).pictures == {}

    def test_a_profile_that_cannot_be_asked_yet(
        self, ingredients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "vlm.toml"
        monkeypatch.setenv("EDITPAIRS_CONFIG", str(file))
        asked = graph("EditPairsLoadVlmEndpoint", profile="judge")
        assert "there is no VLM profile 'judge'" in ingredients.of(asked).unready["judge"]
        sound = 'base_url = "http://127.0.0.1:9/v1"\nmodel = "qwen"\n'
        file.write_text(f"[profiles.judge]\n{sound}[profiles.other]\n{sound}outputs_may_train = true\n")
        assert "profile 'other': outputs_may_train" in ingredients.of(asked).unready["judge"], "it is read as a whole"
        file.write_text(
            '[profiles.judge]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "qwen"\nkey_variable = "JUDGE_KEY"\n'
        )
        monkeypatch.delenv("JUDGE_KEY", raising=False)
        without = ingredients.of(asked)
        assert "needs a key in the environment variable JUDGE_KEY" in without.unready["judge"]
        monkeypatch.setenv("JUDGE_KEY", "nobody-may-see-it")
        ready = ingredients.of(asked)
        assert ready.unready == {} and "nobody-may-see-it" not in ready.model_dump_json()
        assert ready.sha256 == without.sha256, "a key decides no answer"
        assert without.of(graph("VAELoader")).unready == {}, "another graph does not ask it"

    def test_a_profile_without_its_address(
        self, ingredients: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDITPAIRS_CONFIG", str(tmp_path / "vlm.toml"))
        asked = graph("EditPairsLoadVlmEndpoint", profile="judge")
        assert ingredients.of(asked).profiles == {"judge": {}}

        def write(**fields: str) -> Any:
            known = {"base_url": '"http://127.0.0.1:9/v1"', "model": '"qwen"', **fields}
            lines = "\n".join(f"{name} = {value}" for name, value in known.items())
            (tmp_path / "vlm.toml").write_text(f"[profiles.judge]\n{lines}\n")
            return ingredients.of(asked)

        first = write()
        assert first.profiles["judge"]["model"] == "qwen" and "127.0.0.1" not in first.model_dump_json()
        for limits in ({"timeout_s": "9.0"}, {"concurrency": "2"}, {"usd_per_million_prompt_tokens": "1.0"}):
            assert write(**limits) == first
        said = write(licence='"Some Terms"', outputs_may_train='"no"')
        assert said.terms == {"judge": {"licence": "Some Terms", "outputs_may_train": "no"}} and first.terms == {}
        assert said.sha256 == first.sha256 and said.differences(first) == [], "terms change no answer"
        other = [
            write(model='"gpt"'), write(base_url='"http://127.0.0.1:8/v1"'), write(extra_body="{top_k = 3}"),
            write(json_mode='"prompt"'), write(omit='["seed"]'), write(max_image_pixels="2000"),
            write(image_format='"png"'),
        ]  # fmt: skip
        assert len({first.sha256, *(one.sha256 for one in other)}) == 8
