"""The encoding of a text file without a byte order mark that is not utf-8, for `foundry data inspect`.

Excel writes CSV in the code page of its machine. Most of these pages decode the bytes of most others, so the letters
must tell; charset-normalizer compares them with those of the languages of each page.
"""

from pathlib import Path

from components.base.errors import UserError

_PAGES = (
    *("cp932", "gb18030", "cp949", "big5", "euc_jp"),
    *("cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257"),
)
_LATIN = "cp1252"


def guess_encoding(path: Path, begin: bytes) -> str | list[str]:
    """The source's `encoding` for a file that begins with these bytes; "utf-8" if that decodes them.

    Raises:
        UserError: no known encoding decodes them to words of its languages.
    """
    if begin[1:200:2].count(0) > 25 or begin[0:200:2].count(0) > 25:
        return "utf-16-le" if begin[1:2] == b"\0" else "utf-16-be"
    whole = begin[: begin.rfind(b"\n") + 1] or begin
    if _decoded(whole, "utf-8") is not None:
        return "utf-8"
    from charset_normalizer import from_bytes

    found = from_bytes(whole, cp_isolation=list(_PAGES)).best()
    if found is None:
        raise UserError(f"{path}: not utf-8, and of no encoding that is known by its letters; save it as utf-8")
    return ["utf-8", _LATIN if str(found) == _decoded(whole, _LATIN) else found.encoding]


def _decoded(text: bytes, encoding: str) -> str | None:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        return None
