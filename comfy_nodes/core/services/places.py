"""Where the operator's profiles and this machine's replies and accounts lie on disk.

ComfyUI's process and the driver have to find the same files, so these are places of the user's account and not of a
ComfyUI folder: a server that the driver starts has folders of its own. Standard library only.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

CONFIG_VARIABLE = "EDITPAIRS_CONFIG"
CACHE_VARIABLE = "EDITPAIRS_CACHE"
SERVERS_VARIABLE = "EDITPAIRS_SERVERS"


def config_file() -> Path:
    """The file of VLM profiles, whether it exists or not: `EDITPAIRS_CONFIG`, else `editpairs/vlm.toml` in the user's
    configuration folder."""
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named).expanduser()
    return _user_folder("APPDATA", "XDG_CONFIG_HOME", ".config") / "editpairs" / "vlm.toml"


def servers_file() -> Path:
    """The driver's file of ComfyUIs behind a login: `EDITPAIRS_SERVERS`, else `servers.toml` beside the profiles."""
    named = os.environ.get(SERVERS_VARIABLE)
    return Path(named).expanduser() if named else config_file().with_name("servers.toml")


def cache_folder() -> Path:
    """The folder of replies and accounts, whether it exists or not: `EDITPAIRS_CACHE`, else `editpairs` in the user's
    cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    return _user_folder("LOCALAPPDATA", "XDG_CACHE_HOME", ".cache") / "editpairs"


def open_database(file: Path, busy_s: float) -> sqlite3.Connection:
    """An SQLite file that several processes share, in a folder that this user alone can read.

    Every statement is a transaction of its own. What was written outlives a killed process.

    Args:
        busy_s: seconds that a writer waits for another process's write.

    Raises:
        sqlite3.Error, OSError: the file or its folder cannot be used.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    db = sqlite3.connect(file, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        db.close()
        raise
    return db


def _user_folder(windows: str, xdg: str, below_home: str) -> Path:
    named = os.environ.get(windows if os.name == "nt" else xdg)
    return Path(named) if named else Path.home() / below_home
