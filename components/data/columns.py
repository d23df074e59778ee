"""Our columns, and the file's column that each of them is read from."""

from components.base.errors import UserError
from components.config import SourceParams
from components.data.cells import Raw

TEXTS = ("query", "document", "text", "label", "text1", "text2", "correct", "incorrect", "query_id", "doc_id", "split")
NUMBERS = ("score",)
LISTS = ("positives", "negatives")
COLUMNS = (*TEXTS, *NUMBERS)
SPLITS = ("train", "dev", "test")


def map_columns(raw: Raw, params: SourceParams) -> dict[str, str]:
    """Our column -> the file's column, all of them present in this row."""
    named = params.fields
    if params.format == "documents_and_ratings" or params.shape == "positives_and_negatives":
        named = {}  # there, `fields` names the files or the lists, and the rows come under our names
    mapping = named or {name: name for name in raw.values if name in COLUMNS}
    if not mapping:
        raise raw.error(", ".join(raw.values), f"none is one of ours ({', '.join(COLUMNS)}); set `fields`")
    for ours, theirs in mapping.items():
        if ours not in COLUMNS:
            raise UserError(f"fields.{ours}: not a column of ours; expected one of {', '.join(COLUMNS)}")
        if theirs not in raw.values:
            raise raw.error(theirs, f"missing; the row has {', '.join(raw.values)}: correct `fields` or the file")
    return mapping
