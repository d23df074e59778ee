"""Files as they come: byte order marks, compression, broken files, quotes, folders."""

import bz2
import gzip
import json

import pyarrow as pa

from tests.data.cases.case import Case, devices, lines

PAIRS = lines(devices())
CSV = "query,document\r\n" + "".join(f"{row['query']},{row['document']}\r\n" for row in devices())
TABLE = [{"query": f"how do I reset {n}", "document": f"doc {n}"} for n in range(30)]


def quoted(count: int, place: int) -> str:
    """A CSV with a cell that begins with a quote and never ends."""
    rows = [f"how do I reset {n},doc {n}\n" for n in range(count)]
    rows[place] = f'how do I reset {place},"quoted start only {place}\n'
    return "query,document\n" + "".join(rows)


def zst(text: str) -> bytes:
    return pa.Codec("zstd").compress(text.encode(), asbytes=True)


def mended(count: int, place: int) -> dict[str, dict[str, str]]:
    return {"files": {"data.csv": quoted(count, place).replace('"', "")}}


UNCLOSED = r"data\.csv: row {}: a quote is not closed, or text follows a closing quote .*; correct the row, or double"

CASES = {
    "20-bom-jsonl: a byte order mark before JSON Lines": Case(
        {"data.jsonl": b"\xef\xbb\xbf" + PAIRS.encode()}, (15, 3, 3), given=(15, 3, 3)
    ),
    "21-excel-bom-csv: Excel's CSV UTF-8": Case(
        {"data.csv": b"\xef\xbb\xbf" + CSV.encode()},
        (15, 3, 3),
        {"format": "csv", "fields": {"query": "query", "document": "document"}},
        given=(15, 3, 3),
    ),
    "41b-bz2: a file packed by bzip2": Case(
        {"data.jsonl.bz2": bz2.compress(PAIRS.encode())}, (15, 3, 3), given=(15, 3, 3)
    ),
    "41d-zst: a file packed by Zstandard": Case({"data.jsonl.zst": zst(PAIRS)}, (15, 3, 3), given=(15, 3, 3)),
    "41f-broken-gz: half a download": Case(
        {"data.jsonl.gz": gzip.compress(PAIRS.encode())[:150]},
        (15, 3, 3),
        refused=r"data\.jsonl\.gz: cannot be read \(Compressed file ended .*\); damaged file: download it again",
        cure={"files": {"data.jsonl.gz": gzip.compress(PAIRS.encode())}},
        given=(15, 3, 3),
    ),
    "43d-csv-unclosed-quote-start: thirty rows": Case(
        {"data.csv": quoted(30, 3)},
        (15, 3, 3),
        {"format": "csv"},
        refused=UNCLOSED.format(4),
        cure=mended(30, 3),
        given=(15, 3, 3),
    ),
    "43m-csv-quote-swallow: two thousand rows, row 1,201 begins with a quote": Case(
        {"data.csv": quoted(2000, 1200)},
        (800, 50, 100),
        {"format": "csv"},
        refused=UNCLOSED.format(1201),
        cure=mended(2000, 1200),
        given=(800, 50, 100),
    ),
    "44-folder-readme: a README in the folder": Case(
        {"d/a.jsonl": PAIRS, "d/README.md": "# About\n", "d/.DS_Store": b"\0\1", "d/x/b.jsonl": json.dumps(TABLE[0])},
        (15, 3, 3),
        path="d",
        given=(15, 3, 3),
        says=("skipped, no extension of format jsonl: README.md",),
    ),
}
