"""Figures on real ComfyUIs: how near the driver comes to what the server needs, and how far ahead of other loops."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks.driver_loops import comfy_run, filled, floor, pipelined, prompts_so_far, reference_loop
from benchmarks.driver_site import Site, graph, say

CALL_SECONDS = 1.0
EDIT_SECONDS = 0.1
VERIFIED_EDIT_SECONDS = 2.0
FARMED_EDIT_SECONDS = 0.5
PACK = 16
SIDE = 256


def vlm(site: Site) -> dict[str, float]:
    """A call of 1 s and an edit of 0.1 s per image on one server, against ImgEdit's loop, pipelining and the floor."""
    count, few = site.size(128, 32), site.size(8, 3)
    (url,) = site.servers(1)
    photos = site.photos(count, SIDE)
    endpoint = site.endpoint(CALL_SECONDS)
    called = graph("call-then-edit", {"call.url": endpoint, "edit.seconds": EDIT_SECONDS})
    bare = graph("edit", {"edit.seconds": EDIT_SECONDS})
    settings = ("--set", f"#call.url={endpoint}", "--set", f"#edit.seconds={EDIT_SECONDS}")
    rounds = []
    for _ in range(site.rounds):
        ours = site.drive("call-then-edit", photos, [url], *settings).per_image
        least = floor(filled(bare, photos, url, site.seed(), min(count, 32)), url)
        piped = pipelined(filled(called, photos, url, site.seed(), few), url)
        reference = reference_loop(filled(called, photos, url, site.seed(), few), url)
        say(f"s per image: reference loop {reference:.3f}, pipelined {piped:.3f}, ours {ours:.3f}, floor {least:.3f}")
        rounds.append((reference, piped, ours, least))
    return {
        "vlm_vs_reference": median([reference / ours for reference, _, ours, _ in rounds]),
        "vlm_vs_floor": median([ours / least for _, _, ours, least in rounds]),
        "reference loop, s per image": median([one[0] for one in rounds]),
        "one prompt per image pipelined, s per image": median([one[1] for one in rounds]),
        "driver, s per image": median([one[2] for one in rounds]),
        "floor, s per image": median([one[3] for one in rounds]),
    }


def verifying(site: Site) -> dict[str, float]:
    """Edits that block for 2 s, a call of 1 s after each, packs of 16: what a call takes as its node sees it."""
    count = site.size(2 * PACK, PACK)
    urls = site.servers(1)
    known = len(site.events("call"))
    endpoint = site.endpoint(CALL_SECONDS)
    settings = ("--set", f"#call.url={endpoint}", "--set", f"#edit.seconds={VERIFIED_EDIT_SECONDS}")
    run = site.drive("edit-then-call", site.photos(count, SIDE), urls, "--samples-per-prompt", PACK, *settings)
    calls = site.events("call")[known:]
    return {
        "verify_wait_s": sum(call["node_s"] for call in calls) / len(calls),
        "the call itself, s": sum(call["call_s"] for call in calls) / len(calls),
        "with the edit, s per image": run.per_image,
    }


def switching(site: Site) -> dict[str, float]:
    """Three stages with a model each that fit into memory one at a time, packs of 16: models loaded per pack, but for the first."""
    (url,) = site.servers(1)
    known, posted = len(site.events("switch")), prompts_so_far(url)
    site.drive("stages", site.photos(site.size(3 * PACK, PACK), SIDE), [url], "--samples-per-prompt", PACK)
    packs = prompts_so_far(url) - posted - 1
    return {"model_switches": (len(site.events("switch")) - known) / packs - 1, "packs": packs}


def editing(site: Site) -> dict[str, float]:
    """Edits that block for 0.1 s, nobody called: images a second, over the floor's."""
    (url,) = site.servers(1)
    photos = site.photos(site.size(128, 32), SIDE)
    bare = graph("edit", {"edit.seconds": EDIT_SECONDS})
    rounds = []
    for _ in range(site.rounds):
        ours = site.drive("edit", photos, [url], "--set", f"#edit.seconds={EDIT_SECONDS}").per_image
        rounds.append((ours, floor(filled(bare, photos, url, site.seed(), 32), url)))
    return {
        "edit_vs_floor": median([least / ours for ours, least in rounds]),
        "edits, s per image": median([ours for ours, _ in rounds]),
        "edits' floor, s per image": median([least for _, least in rounds]),
    }


def commands(site: Site) -> dict[str, float]:
    """A graph that takes milliseconds: `comfy run --wait` for each image, over the whole command for many."""
    (url,) = site.servers(1)
    photos, few = site.photos(site.size(256, 64), SIDE), site.size(5, 2)
    trivial = graph("edit", {"edit.seconds": 0.0})
    rounds = []
    for _ in range(site.rounds):
        run = site.drive("edit", photos, [url], "--set", "#edit.seconds=0")
        theirs = comfy_run(filled(trivial, photos, url, site.seed(), few), url, _made(site.folder / "comfy-run"))
        rounds.append((theirs, run.wall / run.samples))
    return {
        "vs_comfy_run": median([theirs / ours for theirs, ours in rounds]),
        "comfy run, s per image": median([theirs for theirs, _ in rounds]),
        "driver's whole command, s per image": median([ours for _, ours in rounds]),
    }


def farming(site: Site) -> dict[str, float]:
    """Edits that block for 0.5 s on one, two and four servers of this machine."""
    urls = site.servers(4)
    photos = site.photos(site.size(96, 24), SIDE)
    rounds = []
    for _ in range(site.rounds):
        settings = ("--set", f"#edit.seconds={FARMED_EDIT_SECONDS}")
        seconds = {n: site.drive("edit", photos, urls[:n], *settings).per_image for n in (1, 2, 4)}
        say("images/s: " + ", ".join(f"{1 / each:.2f} on {n}" for n, each in seconds.items()))
        rounds.append(seconds)
    return {
        "speedup_2": median([one[1] / one[2] for one in rounds]),
        "speedup_4": median([one[1] / one[4] for one in rounds]),
        "one server, images/s": median([1 / one[1] for one in rounds]),
    }


def spending(site: Site) -> dict[str, float]:
    """CPU time of the driver's process for each image of 512 x 512, between the first finished ones and the last: on a
    server of its own, and on somebody else's."""
    photos = site.photos(site.size(96, 24), 512)
    found = {}
    for name, urls in {"driver_cpu_ms": [], "driver_cpu_ms on a server of somebody else's": site.servers(1)}.items():
        runs = [site.drive("edit", photos, urls, "--set", f"#edit.seconds={EDIT_SECONDS}") for _ in range(site.rounds)]
        found[name] = median([run.cpu * 1000 for run in runs])
    return found


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
