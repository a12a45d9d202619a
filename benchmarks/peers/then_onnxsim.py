"""The command `onnxsim IN OUT`, as a module: what users run on the file that timm's recipe gave."""

import sys

from onnxsim import main

if __name__ == "__main__":
    sys.exit(main())
