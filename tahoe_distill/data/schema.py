"""Names of sample columns, in one place."""

GENES = "genes"
EXPRESSIONS = "expressions"
ID = "id"
TEACHER = "teacher_embedding"
# Columns of a teacher cache beside the above; rows are as long as the teacher's row of genes.
TEACHER_ROWS = {"expression": "teacher_expression", "mvc": "teacher_mvc"}
TEACHER_POOLED = "teacher_pooled"
TEACHER_MASKED = "teacher_masked"
TEACHER_DRUG = "teacher_drug"
# Not stored: the dataset adds them to every sample, for reproducible randomness.
SAMPLE = "_sample"
EPOCH = "_epoch"

CACHED = (TEACHER, *TEACHER_ROWS.values(), TEACHER_POOLED, TEACHER_MASKED, TEACHER_DRUG)
RESERVED = (GENES, EXPRESSIONS, ID, *CACHED, SAMPLE, EPOCH)
INDEX_FILE = "index.json"
METADATA_FILE = "metadata.json"
