"""Figures on real ComfyUIs: how near the driver comes to what the server needs, and how far ahead of other loops."""

from __future__ import annotations

import hashlib
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median

from benchmarks.driver_inputs import photos_in
from benchmarks.driver_loops import Graph, comfy_run, filled, floor, pipelined, prompts_so_far, reference_loop
from benchmarks.driver_site import Site, floor_of, graph, say

CALL_SECONDS = 1.0
EDIT_SECONDS = 0.1
VERIFIED_EDIT_SECONDS = 2.0
FARMED_EDIT_SECONDS = 0.5
PACK = 16
SIDE = 256
SMALL = 64
"""Where a figure is about the driver's pace: encoding pictures would have servers fight over cores, as no farm's do."""

FARMS = (1, 2, 4)
"""Servers at a time."""


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
        floor_of("vlm_vs_reference"): median([reference / least for reference, _, _, least in rounds]),
        floor_of("vlm_vs_floor"): 1.0,
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
    """Edits that sleep for 0.1 s, small pictures, nobody called: images a second, over the floor's. The floor is taken before
    each run and after it, as a machine's pace changes."""
    (url,) = site.servers(1)
    photos = site.photos(site.size(96, 32), SMALL)
    bare = graph("edit", {"edit.seconds": EDIT_SECONDS})

    def least() -> float:
        return floor(filled(bare, photos, url, site.seed(), 32), url)

    least()  # a server's first prompts take longer
    rounds, before = [], least()
    for _ in range(site.size(3 * site.rounds, 1)):
        ours = site.drive("edit", photos, [url], "--set", f"#edit.seconds={EDIT_SECONDS}").per_image
        after = least()
        say(f"s per image: ours {ours:.4f}, floor {before:.4f} before and {after:.4f} after")
        rounds.append((ours, (before + after) / 2))
        before = after
    return {
        "edit_vs_floor": median([least / ours for ours, least in rounds]),
        floor_of("edit_vs_floor"): 1.0,
        "edits, s per image": median([ours for ours, _ in rounds]),
        "edits' floor, s per image": median([least for _, least in rounds]),
    }


def commands(site: Site) -> dict[str, float]:
    """A graph that takes milliseconds: `comfy run --wait` for each image, over the whole command for many."""
    (url,) = site.servers(1)
    photos, few = site.photos(site.size(256, 64), SMALL), site.size(5, 2)
    trivial = graph("edit", {"edit.seconds": 0.0})
    rounds = []
    for _ in range(site.rounds):
        run = site.drive("edit", photos, [url], "--set", "#edit.seconds=0")
        theirs = comfy_run(filled(trivial, photos, url, site.seed(), few), url, _made(site.folder / "comfy-run"))
        least = floor(filled(trivial, photos, url, site.seed(), 32), url)
        say(f"s per image: comfy run {theirs:.3f}, ours {run.wall / run.samples:.4f}, floor {least:.4f}")
        rounds.append((theirs, run, least))
    return {
        "vs_comfy_run": median([theirs * run.samples / run.wall for theirs, run, _ in rounds]),
        floor_of("vs_comfy_run"): median([theirs / least for theirs, _, least in rounds]),
        "comfy run, s per image": median([theirs for theirs, _, _ in rounds]),
        "driver's whole command, s": median([run.wall for _, run, _ in rounds]),
        "of which editing, s": median([run.editing for _, run, _ in rounds]),
        "its floor, s": median([least * run.samples for _, run, least in rounds]),
    }


def farming(site: Site) -> dict[str, float]:
    """Edits that sleep for 0.5 s on one, two and four servers of this machine, small pictures."""
    urls = site.servers(max(FARMS))
    photos = site.photos(site.size(128, 24), SMALL)
    bare = graph("edit", {"edit.seconds": FARMED_EDIT_SECONDS})
    rounds, ideals, spent = [], [], []
    for _ in range(site.rounds):
        settings, begun = ("--set", f"#edit.seconds={FARMED_EDIT_SECONDS}"), site.servers_cpu_s()
        seconds = {n: site.drive("edit", photos, urls[:n], *settings).per_image for n in FARMS}
        cpu = site.servers_cpu_s() - begun
        graphs = {url: filled(bare, photos, url, site.seed(), 16) for url in urls}
        alone = _floor_together({urls[0]: graphs[urls[0]]})
        ideal = {n: n * alone / _floor_together({url: graphs[url] for url in urls[:n]}) for n in FARMS[1:]}
        say(
            ", ".join(f"{1 / each:.3f} images/s on {n}" for n, each in seconds.items())
            + f"; the most there is: {ideal}"
        )
        rounds.append(seconds)
        spent.append(cpu * 1000 / (len(FARMS) * len(photos_in(photos))))
        ideals.append(ideal)
    return {
        **{f"speedup_{n}": median([one[1] / one[n] for one in rounds]) for n in FARMS[1:]},
        **{floor_of(f"speedup_{n}"): median([one[n] for one in ideals]) for n in FARMS[1:]},
        "one server, images/s": median([1 / one[1] for one in rounds]),
        "CPU that the servers take themselves, ms per image": median(spent),
    }


def _floor_together(graphs: dict[str, list[Graph]]) -> float:
    """Seconds per image and server where servers work at the same time: cores that they fight over show in it."""
    with ThreadPoolExecutor(len(graphs)) as threads:
        return mean(threads.map(floor, graphs.values(), graphs.keys()))


def spending(site: Site) -> dict[str, float]:
    """CPU time of the driver's process for each image of 512 x 512, on a server of its own and on somebody else's."""
    urls = site.servers(1)
    photos = site.photos(site.size(96, 24), 512)
    settings = ("--set", f"#edit.seconds={EDIT_SECONDS}")
    rounds = []
    for _ in range(site.rounds):
        own = site.drive("edit", photos, [], *settings).cpu * 1000
        foreign = site.drive("edit", photos, urls, *settings).cpu * 1000
        least = _checking_ms(photos)
        say(f"ms of CPU per image: own server {own:.1f}, foreign {foreign:.1f}, hashing and checking alone {least:.1f}")
        rounds.append((own, foreign, least))
    own, foreign, least = (median(column) for column in zip(*rounds, strict=True))
    return {
        "driver_cpu_ms": own,
        floor_of("driver_cpu_ms"): 0.0,
        "driver_cpu_ms_foreign": foreign,
        floor_of("driver_cpu_ms_foreign"): least,
    }


def _checking_ms(photos: Path) -> float:
    """CPU milliseconds that reading, hashing and checking two pictures take with nothing around them."""
    pictures = photos_in(photos)
    begun = time.process_time()
    for path in pictures:
        for _ in ("before", "after"):
            data = path.read_bytes()
            hashlib.sha256(data)
            zlib.crc32(data)
    return (time.process_time() - begun) * 1000 / len(pictures)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
