"""Who may import whom, and what a comment may cite: the rules that keep the house legible.

Most are seen in what the modules say, anywhere in them; what a fresh interpreter loads shows what comes through libraries.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HOUSES = ("driver", "comfy_nodes")

LOADED = """
import importlib, json, sys
sys.path.insert(0, {root!r})
{statement}
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

HELP = """
import runpy
sys.argv = [{script!r}, "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0, end.code
"""

COMFYUI = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "execution", "server"}
TORCH = {"torch", "torchvision", "torchaudio", "transformers", "diffusers", "ultralytics"}
HTTP = {"http", "urllib.request", "urllib3", "requests", "httpx", "aiohttp", "websocket", "openai"}

Uses = Mapping[str, frozenset[str]]
"""What each of the names imports."""


# What the modules say


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


@cache
def files() -> dict[str, Path]:
    return {module_name(path): path for house in HOUSES for path in sorted((REPOSITORY / house).rglob("*.py"))}


def imported(nodes: Iterator[ast.AST], package: str) -> Iterator[str]:
    """The modules, or the libraries' names, that import statements name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            whole = [f"{source}.{one.name}" for one in node.names]
            yield from (name if name in files() else source for name in whole)


def running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from running(node)


@cache
def imports(types_too: bool = True) -> Uses:
    """Of each module, what it imports, also within functions.

    Args:
        types_too: whether what only a type checker reads counts.
    """
    found = {}
    for name, path in files().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = frozenset(imported(ast.walk(tree) if types_too else running(tree), package))
    return found


def room(module: str) -> str:
    """The folder directly below a house, or the loose module."""
    return ".".join(module.split(".")[:2])


def between_rooms() -> Uses:
    found: dict[str, frozenset[str]] = {}
    for name, used in imports().items():
        others = frozenset(room(one) for one in used if one in files()) - {room(name)}
        found[room(name)] = found.get(room(name), frozenset()) | others
    return found


def floors(uses: Uses) -> tuple[list[str], list[str]]:
    """Names by floor, each above all that it imports, as far as a circle lets them; and the circle."""
    sorter, circle, stack = TopologicalSorter(uses), [], []
    try:
        sorter.prepare()
    except CycleError as found:
        circle = found.args[1]
    while ready := sorter.get_ready():
        stack.append(f"floor {len(stack)}: {', '.join(sorted(ready))}")
        sorter.done(*ready)
    return stack, circle


def check_floors(uses: Uses) -> None:
    stack, circle = floors(uses)
    assert not circle, "\n".join([f"a circle: {' <- '.join(circle)}", *reversed(stack)])
    assert len(stack) > 3, "the imports were not found"


def closure(*begins: str) -> set[str]:
    """All modules of ours that the ones so named need, themselves included."""
    open_ = [name for name in files() if name in begins or name.startswith(tuple(f"{one}." for one in begins))]
    met: set[str] = set()
    while open_:
        name = open_.pop()
        if name not in met:
            met.add(name)
            open_ += [one for one in imports()[name] if one in files()]
    return met


def libraries(modules: set[str]) -> set[str]:
    """What of others they name, with all names above it."""
    named = {one for name in modules for one in imports()[name] if one not in files()}
    return {".".join(one.split(".")[: n + 1]) for one in named for n in range(one.count(".") + 1)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    check_floors({name: frozenset(one for one in used if one in files()) for name, used in imports(False).items()})


def test_no_rooms_import_each_other_in_a_circle() -> None:
    check_floors(between_rooms())


def test_a_circle_is_found_and_the_floors_below_it_are_told() -> None:
    uses = {"a": frozenset("b"), "b": frozenset("ad"), "c": frozenset("d"), "d": frozenset()}
    stack, circle = floors({name: frozenset(used) for name, used in uses.items()})
    assert stack == ["floor 0: d", "floor 1: c"]
    assert {*circle} == {"a", "b"}


def test_the_driver_names_of_the_pack_only_its_core() -> None:
    driver = [(name, one) for name, used in imports().items() if room(name).startswith("driver") for one in used]
    pack = [(name, one) for name, one in driver if one.partition(".")[0] == "comfy_nodes"]
    assert pack
    assert [pair for pair in pack if not pair[1].startswith("comfy_nodes.core.")] == []
    assert [pair for pair in driver if pair[1].partition(".")[0] in TORCH | COMFYUI | {"training"}] == []


def test_core_names_neither_torch_nor_comfyui_nor_anything_of_ours_above_it() -> None:
    core = {name for name in files() if room(name) == "comfy_nodes.core"}
    assert closure("comfy_nodes.core") == core
    assert not libraries(core) & (TORCH | COMFYUI)


def renames(call: ast.Call) -> bool:
    """Whether a call gives a file another name; `str.replace` takes two words, `datetime.replace` takes none."""
    name, words = getattr(call.func, "attr", ""), len(call.args)
    if name in ("rename", "renames", "move"):
        return words > 0
    on_os = getattr(getattr(call.func, "value", None), "id", "") == "os"
    return name == "replace" and (on_os or (words == 1 and not call.keywords))


def test_files_and_folders_are_renamed_in_one_place() -> None:
    tree = {path: ast.parse(path.read_text(encoding="utf-8")) for path in files().values()}
    found = {
        path.relative_to(REPOSITORY).as_posix()
        for path, module in tree.items()
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and renames(node)
    }
    assert found == {"comfy_nodes/core/whole_files.py"}


def test_a_renaming_is_told_from_the_words_like_it() -> None:
    told = "os.replace(a, b)", "os.rename(a, b)", "shutil.move(a, b)", "path.rename(b)", "(a / b).replace(c)"
    others = "text.replace('a', 'b')", "now.replace(microsecond=0)", "dataclasses.replace(row, key='b')"
    for line, expected in [*((line, True) for line in told), *((line, False) for line in others)]:
        assert renames(ast.parse(line, mode="eval").body) is expected, line


def test_nodes_do_not_import_nodes() -> None:
    nodes = {name: used for name, used in imports().items() if name.startswith("comfy_nodes.nodes.")}
    assert len(nodes) > 20
    assert [(name, one) for name, used in nodes.items() for one in used if one.startswith("comfy_nodes.nodes")] == []


def test_journal_and_monitor_know_neither_readers_nor_http() -> None:
    needed = closure("driver.journal", "driver.monitor")
    assert {"driver.journal", "driver.monitor.metrics", "driver.samples"} <= needed
    assert {name for name in needed if room(name) in ("driver.inputs", "driver.comfyui")} == set()
    assert not libraries(needed) & HTTP


def test_one_module_reads_node_lists() -> None:
    """In the driver `graph/schemas.py` alone looks names of `/object_info`'s raw form up."""
    raw = {"required", "optional", "input_order", "output_node", "output_name", "output_is_list", "api_node"}
    readers = set()
    for name in (one for one in files() if one.startswith("driver.")):
        for node in ast.walk(ast.parse(files()[name].read_text(encoding="utf-8"))):
            asked = [node.slice] if isinstance(node, ast.Subscript) else []
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get":
                asked = node.args[:1]
            readers |= {name for one in asked if isinstance(one, ast.Constant) and one.value in raw}
    assert readers == {"driver.graph.schemas"}


def test_the_engines_samples_know_no_servers_and_only_its_threads_know_the_workers() -> None:
    engine = "driver.engine."
    assert closure(f"{engine}health") == {f"{engine}health"}
    servers = {f"{engine}{name}" for name in ("health", "station", "posting", "landing", "recovery", "worker", "local")}
    assert servers <= set(files())
    assert not closure(f"{engine}pool") & servers
    assert {room(one) for one in imports()[f"{engine}pool"]} & {"driver.comfyui", "driver.inputs"} == set()
    assert [name for name, used in imports().items() if f"{engine}worker" in used] == [f"{engine}local"]


# What an interpreter loads


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has after the statement."""
    code = LOADED.format(root=str(REPOSITORY), statement=statement)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY.parent)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def loading(modules: list[str], never: set[str]) -> str:
    """A statement that imports them all, one after the other, and ends at the first that brings what none may."""
    return f"""
for name in {modules!r}:
    importlib.import_module(name)
    brought = {{one.partition(".")[0] for one in sys.modules}} & {never!r}
    assert not brought, f"{{name}} loads {{brought}}"
"""


def test_the_driver_loads_neither_torch_nor_comfyui() -> None:
    driver = [name for name in files() if name.partition(".")[0] == "driver"]
    loaded = loaded_by(loading(driver, TORCH | COMFYUI))
    pack = {name for name in loaded if name.startswith("comfy_nodes.")}
    assert {*driver} <= loaded
    assert pack and all(room(name) == "comfy_nodes.core" for name in pack)


def test_core_stands_alone() -> None:
    core = [name for name in files() if room(name) == "comfy_nodes.core"]
    loaded = loaded_by(loading(core, TORCH | COMFYUI | {"driver", "cv2"}))
    assert "comfy_nodes.core.regions.annotation" in loaded


def test_no_folder_of_weights_brings_code_that_runs() -> None:
    """`trust_remote_code=False`, also where it is a library's default today."""
    shared = re.compile(r'FROM_FOLDER = \{.*"trust_remote_code": False\}')
    assert shared.search((REPOSITORY / "comfy_nodes/models/checkpoints.py").read_text(encoding="utf-8"))
    silent, calls = [], 0
    for file in (REPOSITORY / "comfy_nodes").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            loads = ("from_pretrained", "from_config", "download", "pipeline")
            if not isinstance(node, ast.Call) or getattr(node.func, "attr", "") not in loads:
                continue
            calls += 1
            said = [ast.unparse(word.value) for word in node.keywords if word.arg in (None, "trust_remote_code")]
            if not any(word == "False" or word.endswith("FROM_FOLDER") for word in said):
                silent.append(f"{file.name}:{node.lineno}")
    assert calls >= 9 and not silent


@pytest.mark.parametrize("name", ["batch", "adopt", "collect", "open", "export", "release", "review"])
def test_help_answers_before_anything_slow_is_loaded(name: str) -> None:
    """What takes long to import would be felt at every `--help`."""
    script = str(REPOSITORY / "driver" / f"{name}.py")
    loaded = tops(loaded_by(HELP.format(script=script)))
    assert "argparse" in loaded
    slow = {"pyarrow", "PIL", "numpy", "rich", "pydantic", "urllib3", "websocket", "jinja2", "comfy_cli", "filelock"}
    assert not loaded & (slow | TORCH | COMFYUI)


# What a comment cites

PAPERS = re.compile(
    r"\b(?:design|plan|research),? section|\((?:design|plan|research),|\bissues? #?\d+\b|\b(?:design|house|style|drivers|papers|node-packs)\.md\b",
    re.IGNORECASE,
)
"""Papers of ours that a reader of the repository does not have."""


def told(path: Path) -> Iterator[tuple[int, str]]:
    """The comments and strings of a file, docstrings among them."""
    with tokenize.open(path) as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type in (tokenize.COMMENT, tokenize.STRING):
                yield token.start[0], token.string


def test_no_comment_cites_a_paper_that_is_not_here() -> None:
    here = [path for part in (*HOUSES, "tests") for path in (REPOSITORY / part).rglob("*.py") if path != Path(__file__)]
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {cited[0]}"
        for path in [*here, REPOSITORY / "install.py"]
        for line, text in told(path)
        for cited in PAPERS.finditer(text)
    ]
    assert len(here) > 300 and found == []
