"""``python -m ferryman.simulator``."""

import sys

from ferryman.simulator.main import main

sys.exit(main())
