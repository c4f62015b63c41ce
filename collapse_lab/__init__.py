"""collapse_lab: whether, where, when and why the features of a vision network collapse.

The public names, each resolved on first use (PEP 562): importing the package loads neither torch nor pandas.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collapse_lab import objectives as objectives
    from collapse_lab.capture.store import Capture as Capture
    from collapse_lab.capture.store import load_capture as load_capture
    from collapse_lab.data.source import normalise as normalise
    from collapse_lab.data.source import open_images as open_images
    from collapse_lab.findings.against import against_nulls as against_nulls
    from collapse_lab.findings.alignment import cka as cka
    from collapse_lab.findings.alignment import knn_overlap as knn_overlap
    from collapse_lab.findings.alignment import similarity_table as similarity_table
    from collapse_lab.findings.baselines import baselines as baselines
    from collapse_lab.findings.compare import Comparison as Comparison
    from collapse_lab.findings.compare import compare as compare
    from collapse_lab.findings.curve import n_curve as n_curve
    from collapse_lab.findings.diagnose import Finding as Finding
    from collapse_lab.findings.diagnose import diagnose as diagnose
    from collapse_lab.findings.gates import gate_table as gate_table
    from collapse_lab.findings.merging import merge_captures as merge_captures
    from collapse_lab.findings.monitor import monitor as monitor
    from collapse_lab.findings.probes import probe as probe
    from collapse_lab.findings.spectrum import Spectrum as Spectrum
    from collapse_lab.findings.spectrum import spectrum as spectrum
    from collapse_lab.findings.table import analyze as analyze
    from collapse_lab.findings.table import capture as capture
    from collapse_lab.findings.worth import worth as worth
    from collapse_lab.metrics._metric import measure as measure
    from collapse_lab.metrics._metric import metric as metric
    from collapse_lab.metrics._metric import series as series
    from collapse_lab.models.build import build_model as build_model
    from collapse_lab.report.figures import figure as figure
    from collapse_lab.report.page import report as report
    from collapse_lab.stats.accumulate import stats_of as stats_of
    from collapse_lab.stats.layer import LayerStats as LayerStats
    from collapse_lab.study.compared import runs_of as runs_of
    from collapse_lab.study.pictures import pictures_of as pictures_of
    from collapse_lab.study.plan import Study as Study
    from collapse_lab.study.plan import read_study as read_study
    from collapse_lab.study.run import run_study as run_study
    from collapse_lab.train.config import Config as Config
    from collapse_lab.train.config import load_config as load_config
    from collapse_lab.train.load import load_model as load_model
    from collapse_lab.train.loop import train as train
    from collapse_lab.train.restore import load_objective as load_objective

_DEFINED_IN = {
    "Capture": "capture.store",
    "Comparison": "findings.compare",
    "Config": "train.config",
    "Finding": "findings.diagnose",
    "LayerStats": "stats.layer",
    "Spectrum": "findings.spectrum",
    "Study": "study.plan",
    "against_nulls": "findings.against",
    "analyze": "findings.table",
    "build_model": "models.build",
    "baselines": "findings.baselines",
    "capture": "findings.table",
    "cka": "findings.alignment",
    "compare": "findings.compare",
    "diagnose": "findings.diagnose",
    "figure": "report.figures",
    "gate_table": "findings.gates",
    "knn_overlap": "findings.alignment",
    "load_capture": "capture.store",
    "load_config": "train.config",
    "load_model": "train.load",
    "load_objective": "train.restore",
    "measure": "metrics._metric",
    "merge_captures": "findings.merging",
    "metric": "metrics._metric",
    "monitor": "findings.monitor",
    "n_curve": "findings.curve",
    "normalise": "data.source",
    "open_images": "data.source",
    "pictures_of": "study.pictures",
    "probe": "findings.probes",
    "read_study": "study.plan",
    "report": "report.page",
    "run_study": "study.run",
    "runs_of": "study.compared",
    "series": "metrics._metric",
    "similarity_table": "findings.alignment",
    "spectrum": "findings.spectrum",
    "stats_of": "stats.accumulate",
    "train": "train.loop",
    "worth": "findings.worth",
}
__all__ = ["objectives", *_DEFINED_IN]


class _Package(ModuleType):
    """The rooms capture, train and report have the names of functions: importing a room must not hide its function."""

    def __getattr__(self, name: str) -> Any:
        if name == "objectives":
            return import_module("collapse_lab.objectives")
        if name not in _DEFINED_IN:
            raise AttributeError(f"module 'collapse_lab' has no attribute {name!r}")
        value = getattr(import_module(f"collapse_lab.{_DEFINED_IN[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _DEFINED_IN:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*__all__, *super().__dir__()]


sys.modules[__name__].__class__ = _Package
