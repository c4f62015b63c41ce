"""The process that started this one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing import parent_process


def when_parent_ends(act: Callable[[], object]) -> None:
    """Call `act` in a thread once the parent is gone, killed too; never in one that multiprocessing did not start.

    What a killed parent left at work would go on unseen.
    """
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        act()

    threading.Thread(target=watch, daemon=True).start()
