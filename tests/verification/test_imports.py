"""What importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import nfexport.verification as verification


def loads(module: str, code: str) -> bool:
    script = f"import sys; {code}; sys.exit('{module}' in sys.modules)"
    return subprocess.run([sys.executable, "-c", script], check=False).returncode == 1


@pytest.mark.parametrize("module", ["torch", "onnxruntime", "timm", "numpy"])
def test_importing_the_package_loads_nothing(module: str) -> None:
    assert not loads(module, "import nfexport.verification")


def test_the_rule_needs_no_torch() -> None:
    assert not loads(
        "torch", "from nfexport.verification import FixedTolerance, VerificationReport, verify_session_against"
    )


def test_this_test_can_fail() -> None:
    assert loads("torch", "import nfexport.verification.torch_reference")


def test_every_public_name_is_there() -> None:
    for name in verification.__all__:
        assert getattr(verification, name).__name__ == name
    with pytest.raises(AttributeError, match="attribute verify_session"):
        _ = verification.verify_session
