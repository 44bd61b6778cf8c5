"""``python -m ferryman.control``: run the control plane."""

import sys

from ferryman.control.main import main

sys.exit(main())
