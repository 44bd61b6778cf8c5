"""The request path: the spine, what it carries along, and how its results are delivered."""
