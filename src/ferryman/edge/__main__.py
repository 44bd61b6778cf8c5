"""``python -m ferryman.edge``: run the data plane."""

from ferryman.edge.main import main

main()
