"""``python -m ferryman``: the same as the ``ferryman`` command."""

import sys

from ferryman.cli.main import main

sys.exit(main())
