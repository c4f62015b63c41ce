"""TensorBoard event files: the one place that opens them. An extra, imported where it is used."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Events:
    """Curves by name in a folder, which is made at the first point."""

    def __init__(self, folder: Path) -> None:
        """Raises ImportError naming the extra where tensorboard is not installed."""
        try:
            self._writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoard scalars need tensorboard; install it with: pip install 'collapse-lab[tensorboard]'"
            ) from None
        self.folder = folder
        self._open: Any = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One point a finite value. What an earlier process wrote from this step on is hidden."""
        if self._open is None:
            self._open = self._writer(log_dir=str(self.folder), purge_step=step)
        for name, value in values.items():
            if math.isfinite(value):
                self._open.add_scalar(name, value, step)
        self._open.flush()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
