"""What the runtimes that a file is made for do not support, from tables: one TOML file for each target, in tables/.

To add a target, add `tables/NAME.toml`; it is then known as NAME. docs/targets.md describes its keys.
"""

from __future__ import annotations

from nfexport.targets.compatibility import check
from nfexport.targets.findings import CheckResult, Finding, TargetCheck
from nfexport.targets.table import Table, load, targets

__all__ = ["check", "CheckResult", "TargetCheck", "Finding", "targets", "load", "Table"]
