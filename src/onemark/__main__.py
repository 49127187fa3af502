"""`python -m onemark` is `onemark`."""

from __future__ import annotations

import sys

from onemark.cli import main

if __name__ == "__main__":
    sys.exit(main())
