"""The command line in a process of its own, as a user starts it.

Only difference: torchvision's operators are defined first, which diffusers needs where torchvision does not fit a CPU build of
torch.
"""

import sys

from acfun_core.command_line import main
from tools.comfy.launcher import define_torchvision_operators

if __name__ == "__main__":
    define_torchvision_operators()
    sys.exit(main())
