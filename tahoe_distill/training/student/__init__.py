"""The student of a run: its section of the YAML, its vocabulary, its first weights, what it sees."""
