"""What the demo costs: seconds, memory and disk, in a folder of its own, with everything already installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import Claim, main

POLL = 0.5


def measure(quick: bool) -> Sequence[Claim]:
    """One run of the demo either way: it is its own size. A second one shows what reuse costs."""
    del quick
    with tempfile.TemporaryDirectory() as folder:
        where = ["--out", f"{folder}/page", "--runs", f"{folder}/runs"]
        first, memory = _demo(where)
        again, _ = _demo(where)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
        page = (Path(folder) / "page" / "index.html").stat().st_size / 1e6
    return [
        Claim(name="demo_seconds", value=first, unit="s", target=360, better="lower"),
        Claim(name="demo_memory_gb", value=memory, unit="GB", target=3, better="lower"),
        Claim(name="demo_disk_mb", value=disk, unit="MB", target=300, better="lower"),
        Claim(name="demo_again_share", value=again / first, unit="share", target=0.1, better="lower"),
        Claim(name="demo_page_mb", value=page, unit="MB", target=3, better="lower"),
    ]


def _demo(where: list[str]) -> tuple[float, float]:
    """Seconds, and the highest memory of all its processes together, shared pages counted once, in GB."""
    began, highest = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "collapse_lab", "demo", *where]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            highest = max(highest, _memory(process.pid))
            time.sleep(POLL)
    if process.returncode:
        raise RuntimeError(f"the demo ended with {process.returncode}")
    return time.perf_counter() - began, highest


def _memory(root: int) -> float:
    """Proportional set size of a process and everything below it, in GB (Linux)."""
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text(encoding="utf-8").split()
        lines = Path(f"/proc/{root}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it ended meanwhile
        return 0.0
    own = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) * 1024 / 1e9
    return own + sum(_memory(int(child)) for child in children)


if __name__ == "__main__":
    main(measure)
