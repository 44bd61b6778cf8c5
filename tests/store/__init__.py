"""The journal, the database and what goes from one into the other."""
