"""The job files of docs/scale: their command lines are ones that the commands take, with the shares of one run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

from driver import merge, options

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"


def run_by_a_shell(script: str, folder: Path, **variables: str) -> list[str]:
    """The words that a script hands to `python`, of which the first one is the command's file."""
    folder.mkdir(exist_ok=True)
    python = folder / "python"
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    done = subprocess.run(
        ["/bin/bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    first, *words = done.stdout.splitlines()
    assert (REPOSITORY / first).is_file()
    return words


def asked(words: list[str]) -> Any:
    """As the real command reads them."""
    return options.parse(words)


def shares_of(read: list[Any]) -> None:
    """They are all shares of one run, each with an output of its own."""
    assert [one.shard for one in read] == [(index, len(read)) for index in range(len(read))]
    assert len({str(one.output) for one in read}) == len(read)
    assert len({(one.workflow, one.input) for one in read}) == 1
    assert (REPOSITORY / "workflows" / f"{read[0].workflow}.json").is_file()


def test_slurm(tmp_path: Path) -> None:
    script = DOCS / "scale/slurm.sh"
    assert subprocess.run(["/bin/bash", "-n", str(script)], timeout=30).returncode == 0
    text = script.read_text()
    (last,) = re.findall(r"^#SBATCH --array=0-(\d+)$", text, re.MULTILINE)
    variables = {"RUNS": "/shared/runs", "INPUT": "/shared/photos"}
    shares_of(
        [
            asked(run_by_a_shell(text, tmp_path, SLURM_ARRAY_TASK_ID=str(index), **variables))
            for index in range(int(last) + 1)
        ]
    )


def test_slurm_without_its_folders_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/bash", str(DOCS / "scale/slurm.sh")], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode != 0 and "RUNS: names the folder of the shares" in done.stderr


def test_kubernetes(tmp_path: Path) -> None:
    job = yaml.safe_load((DOCS / "scale/kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (script,) = container["args"]
    assert container["command"] == ["/bin/bash", "-c"]
    read = [
        asked(run_by_a_shell(script, tmp_path, JOB_COMPLETION_INDEX=str(index)))
        for index in range(job["spec"]["completions"])
    ]
    shares_of(read)
    (mount,) = container["volumeMounts"]
    assert {str(one.output.parent) for one in read} == {mount["mountPath"]}
    assert [volume["name"] for volume in pod["volumes"]] == [mount["name"]]


def test_skypilot(tmp_path: Path) -> None:
    task = yaml.safe_load((DOCS / "scale/skypilot.yaml").read_text())
    nodes = task["num_nodes"]
    read = [
        asked(run_by_a_shell(task["run"], tmp_path, SKYPILOT_NODE_RANK=str(rank), SKYPILOT_NUM_NODES=str(nodes)))
        for rank in range(nodes)
    ]
    shares_of(read)
    assert [one.publish_to for one in read] == [f"s3://runs/share{rank}" for rank in range(nodes)]


def test_the_page() -> None:
    text = (DOCS / "scale.md").read_text()
    lines = re.findall(r"^python driver/(\w+)\.py (.*)$", text, re.MULTILINE)
    shares = [asked(shlex.split(words)) for name, words in lines if name == "batch"]
    shares_of(shares)
    (merged,) = [merge._parse(shlex.split(words)) for name, words in lines if name == "merge"]
    assert merged.outputs == [one.output for one in shares]
    for name in re.findall(r"\]\((scale/[^)]+)\)", text):
        assert (DOCS / name).is_file()
