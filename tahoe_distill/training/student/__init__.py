"""The student of a run: what the YAML says of it, its vocabulary, its first weights, what it sees."""
