"""Keys and costs."""
