import json
from pathlib import Path
RAW = Path('/work/dev/tmp/graphs/raw')
OUT = Path('/work/dev/tmp/graphs/canon'); OUT.mkdir(exist_ok=True)

def test_canon(frontend):
    for path in sorted(RAW.glob('*.json')):
        g = json.loads(path.read_text())
        frontend.open(g, path.stem)
        frontend.page.wait_for_timeout(500)
        sizes = frontend.page.evaluate("app.graph.nodes.map((n) => [n.id, n.type, [...n.size], [...n.computeSize()]])")
        for one in sizes:
            if one[2][1] < one[3][1] - 1 : print(path.stem, 'SMALL', one)
        saved = frontend.saved()
        (OUT / path.name).write_text(json.dumps(saved))
        (OUT / (path.stem + '.sizes')).write_text(json.dumps(sizes))
        print(path.stem, frontend.errors[:3])
