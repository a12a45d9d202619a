"""Shows that an ONNX file computes what its PyTorch model computes, or where it does not.

Inputs (input_cases.py) go through PyTorch in float64 and float32 (torch_reference.py) and through a runtime
(nfexport.runtimes); what comes out is compared (comparison.py) under a rule with a reason (tolerance.py), and becomes
a report (verification_report.py). Importing this package costs nothing; torch and runtimes are loaded when they run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from nfexport.verification.model_under_test import ImageModelUnderTest as ImageModelUnderTest
    from nfexport.verification.model_under_test import ModelUnderTest as ModelUnderTest
    from nfexport.verification.model_under_test import TensorsUnderTest as TensorsUnderTest
    from nfexport.verification.tolerance import FixedTolerance as FixedTolerance
    from nfexport.verification.tolerance import Float32Tolerance as Float32Tolerance
    from nfexport.verification.tolerance import Tolerance as Tolerance
    from nfexport.verification.verification_report import VerificationReport as VerificationReport
    from nfexport.verification.verifier import verify_in_runtimes as verify_in_runtimes
    from nfexport.verification.verifier import verify_session_against as verify_session_against

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "model_under_test": ["ImageModelUnderTest", "ModelUnderTest", "TensorsUnderTest"],
        "tolerance": ["FixedTolerance", "Float32Tolerance", "Tolerance"],
        "verification_report": ["VerificationReport"],
        "verifier": ["verify_in_runtimes", "verify_session_against"],
    },
)
