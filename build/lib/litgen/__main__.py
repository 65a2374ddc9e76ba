"""``python -m litgen``."""

import sys

from litgen.cli import main

sys.exit(main())
