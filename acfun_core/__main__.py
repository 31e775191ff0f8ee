"""``python -m acfun_core``, the same as the console script ``acfun``."""

import sys

from .command_line import main

if __name__ == "__main__":
    sys.exit(main())
