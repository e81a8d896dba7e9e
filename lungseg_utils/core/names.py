"""Names that come from outside, as names of files: the one place that makes them safe."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST = 64
_SAFE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}")


def safe_name(text: str) -> str:
    """A name for files and folders: `text` itself, without blanks at its ends, if it is one on every file system.

    Else its letters, digits, points, - and _, at most 64, with eight digits of the hash of the text behind them: two names that differ stay
    apart, and no name leads out of its folder.
    """
    text = text.strip()
    if _SAFE.fullmatch(text):
        return text
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    letters = re.sub(r"[^A-Za-z0-9_.-]+", "-", ascii_text).strip("-._")[:_LONGEST].rstrip("-._")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{letters or 'unnamed'}-{digest}"
