"""The Messages format: https://platform.claude.com/docs/en/api/messages, both of its sides."""
