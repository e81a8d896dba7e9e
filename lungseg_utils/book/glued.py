"""What an executed notebook glued: numbers, words, pictures and tables that other pages show."""

from __future__ import annotations

import json
from pathlib import Path


def glued_values(notebook: Path, kind: str = "text/plain") -> dict[str, str]:
    """Everything of one media type that a notebook glued: name -> its text (pictures: base64)."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    values = {}
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        glued = output.get("metadata", {}).get("scrapbook", {})
        text = output.get("data", {}).get(f"{glued.get('mime_prefix', '')}{kind}")  # prefixed where it is not displayed
        if "name" in glued and text is not None:
            values[glued["name"]] = "".join(text)
    return values
