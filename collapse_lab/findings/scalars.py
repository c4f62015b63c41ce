"""Live metrics as TensorBoard draws them: one curve a site and metric."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from collapse_lab.findings.alarm import Row


class Scalars:
    """Event files in a folder, opened at the first row: `SITE/METRIC`, with `/POSITIONS` where there are several."""

    def __init__(self, folder: Path, policies: int) -> None:
        """Raises ImportError naming the extra where tensorboard is not installed."""
        try:
            self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard scalars need tensorboard; install it with: pip install 'collapse-lab[tensorboard]'"
            ) from None
        self.folder, self.policies = folder, policies
        self._open: Any = None

    def write(self, rows: Iterable[Row], step: int) -> None:
        """One point a row that has a finite value. What an earlier process wrote from this step on is hidden."""
        if self._open is None:
            self._open = self._writer(log_dir=str(self.folder), purge_step=step)
        for row in rows:
            if math.isfinite(row["value"]):
                name = f"{row['site']}/{row['metric']}" + (f"/{row['positions']}" if self.policies > 1 else "")
                self._open.add_scalar(name, row["value"], step)
        self._open.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
