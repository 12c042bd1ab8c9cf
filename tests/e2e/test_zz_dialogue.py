from tests.e2e.test_full_graphs import *
from tests.e2e.dialogues import Dialogue, plan, turn
import pytest
PLANS = {
    "content_memory": plan((DISC, BOX), turn("replace", 0), turn("alter", 1, 1, "a red box"), premise="All becomes red."),
    "content_understanding": plan((DISC,), turn("add", 0, target=""), turn("replace", 1), turn("alter", 2, 0, "a green ball"), turn("remove",3,0,"")),
    "version_backtracking": plan((DISC,), turn("add", 0, target=""), turn("replace", 1), turn("alter", 1, 0, "a blue disc")),
}
@pytest.mark.parametrize("name", [f"{k}{s}" for k in PLANS for s in ("", "-open")])
def test_d(bench, name):
    import time
    task = name.removesuffix("-open")
    graph = bench.bind(name)
    d = Dialogue(bench.url, bench.models.parent/"input", bench.photo, task, PLANS[task])
    for i in range(len(PLANS[task].steps)):
        t=time.time(); played = d.play(graph)
        r=played.pair.record
        print(name, i+1, round(time.time()-t,1), r["turn"], r["verdict"], r["reject_reason"], r["scores"][-3:], sorted(graph.api[n]["class_type"] for n in played.ran if n in graph.api))
        played.pair.assert_kept_outside()
