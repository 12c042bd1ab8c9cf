"""A kill at a rename, within one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """What a kill is in one process: nothing after it runs."""


def killed_at(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], step: int) -> bool:
    """Acts with a kill instead of the rename of that number; returns False where there are fewer."""
    done = 0

    def killing(real: Any) -> Any:
        def renamed(path: Path, target: Path) -> Path:
            nonlocal done
            done += 1
            if done > step:
                raise Killed
            return real(path, target)

        return renamed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killing(Path.rename))
        patched.setattr(Path, "replace", killing(Path.replace))
        # A kill lets no handler run either.
        patched.setattr("driver.dataset.dataset.shutil.rmtree", lambda *_, **__: None)
        try:
            act()
        except Killed:
            return True
    return False
