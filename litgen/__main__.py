"""``python -m litgen``."""

import os
import sys

# Before torch is imported: threads that wait must not spin, or two programs on the same cores slow
# each other down twentyfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from litgen.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
