"""Real agents, each through a loop of tools, at a provider of another format than their own."""
