"""The Cohere v2 chat format. Provider side only.

https://docs.cohere.com/reference/chat
"""
