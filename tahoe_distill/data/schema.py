"""Names of sample columns, in one place."""

GENES = "genes"
EXPRESSIONS = "expressions"
ID = "id"
TEACHER = "teacher_embedding"
# Not stored: the dataset adds them to every sample, for reproducible randomness.
SAMPLE = "_sample"
EPOCH = "_epoch"

RESERVED = (GENES, EXPRESSIONS, ID, TEACHER, SAMPLE, EPOCH)
INDEX_FILE = "index.json"
METADATA_FILE = "metadata.json"
