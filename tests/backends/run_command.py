"""The command line in a process of its own, as a user starts it.

Only difference: torchvision's operators are defined first, which diffusers needs where torchvision does not fit a CPU build of
torch.
"""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "tests"), str(REPO)]

from host.launcher import define_torchvision_operators  # noqa: E402

from acfun_core.command_line import main  # noqa: E402

if __name__ == "__main__":
    define_torchvision_operators()
    sys.exit(main())
