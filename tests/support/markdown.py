"""What a reader sees of Markdown."""

from __future__ import annotations

from markdown_it import MarkdownIt

COMMONMARK = MarkdownIt("commonmark")


def shown_text(markdown: str) -> list[str]:
    """Return the text of each block, without comments and the spaces around it."""
    blocks = []
    for token in COMMONMARK.parse(markdown):
        if token.type != "inline":
            continue
        words = []
        for child in token.children or []:
            if child.type == "softbreak":
                words.append(" ")
            elif child.type != "html_inline" or child.content != "<!-- -->":
                words.append(child.content)
        blocks.append("".join(words).strip())
    return blocks
