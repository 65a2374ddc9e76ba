"""``python -m litgen``."""

import os
import sys

# Before torch is imported: threads that wait may spin for some microseconds, until the next small
# operation, and no longer, or two programs on the same cores slow each other down twentyfold.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from litgen.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
