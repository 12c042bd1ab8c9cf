"""The command: `python driver/batch.py --workflow remove.json --input photos/ --output out/`.

`options.py` reads the command line, `pipeline/` does the work of workflows, `recipe/` that of a recipe.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, carry_out, conclude
from driver.options import PROGRAM, RunOptions, parse
from driver.stopping import StopRequest


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    stop = StopRequest()
    return carry_out(PROGRAM, parse, partial(_run, stop), arguments, stop)


def _run(stop: StopRequest, options: RunOptions) -> Ended:
    # Imported when it is needed: the help answers at once.
    if options.recipe:
        return _recipe(stop, options)
    if options.dry_run:
        from driver.pipeline.dry_run import dry_run

        return Ended({"output": options.output, **dry_run(options)})
    from driver.pipeline.run import run

    return conclude(options, *run(options, stop))


def _recipe(stop: StopRequest, options: RunOptions) -> Ended:
    if options.status:
        from driver.recipe.status import status

        return Ended({"output": options.output, **status(options.output)})
    if options.dry_run:
        from driver.recipe.dry_run import dry_run

        return Ended({"output": options.output, **dry_run(options)})
    from driver.recipe.chain import run_recipe
    from driver.recipe.derived import derived_behind
    from driver.recipe.file import read_recipe
    from driver.report.yields import YieldTable

    summary, stopped = run_recipe(options, stop)
    recipe = read_recipe(options.recipe or "")
    last = recipe.folder(recipe.wanted(options)[-1], options.output)
    ended = conclude(replace(options, output=last), summary, stopped)
    if table := YieldTable.of_recipe(options.output):
        print(*table.lines(), sep="\n")
        ended = ended._replace(made={**ended.made, "output": options.output, "recipe": table.told()})
    if not stopped:
        derived = derived_behind(recipe, options, summary.kept, stop)
        ended = ended._replace(made={**ended.made, **derived})
    return ended


if __name__ == "__main__":
    sys.exit(main())
