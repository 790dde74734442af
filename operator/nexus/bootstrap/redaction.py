"""What the bootstraps of http and sql tasks share: secrets kept out of all that a task tells."""

from __future__ import annotations

import json
import re

SHOWN = "***"
WITHHELD = (
    "its message is withheld, since it may hold a secret that is too short, or too plain a word, to be blotted out"
)

# A gap in a well-known message gives a word away: `connection *** failed` has only one reading. Shorter than these, a
# secret of that kind is met by chance, and a message in which it stands as a word of its own is not shown at all.
SHORT = 4  # characters of any kind
SHORT_WORD = 12  # letters only
SHORT_NUMBER = 8  # digits only


def forms_of(secret: str) -> set[str]:
    """How a secret may be written in a message: as it is, percent-encoded (in capitals or not, twice too), and as
    Python, JSON and HTML quote it."""
    import html
    from urllib.parse import quote, quote_plus

    found: set[str] = set()
    for value in (secret, secret.strip()):
        data = value.encode("utf-8", "replace")
        kept, plain = (json.dumps(value, ensure_ascii=only)[1:-1] for only in (False, True))
        quoted = {repr(value)[1:-1], ascii(value)[1:-1], repr(data)[2:-1]}
        # As a part of a longer text, which may hold quotes of both kinds.
        found |= (
            quoted | {text.replace("\\'", "'").replace("'", "\\'") for text in quoted} | {value, html.escape(value)}
        )
        # A service that quotes the JSON it was sent, within JSON of its own.
        found |= {kept, plain, json.dumps(kept, ensure_ascii=False)[1:-1], json.dumps(plain)[1:-1]}
        # SQLAlchemy leaves blanks and plus signs as they are.
        codes = {quote(data, safe) for safe in ("", "/", " +", "/:@")} | {quote_plus(data)}
        codes |= {quote(code, "") for code in codes}
        found |= codes | {re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in codes}
    return found - {""}


def is_plain(form: str) -> bool:
    """Whether a message may hold these characters by chance."""
    return (
        len(form) < SHORT
        or (len(form) < SHORT_WORD and form.isalpha())
        or (len(form) < SHORT_NUMBER and form.isdigit())
    )


def redacted(text: str, secrets: set[str]) -> str:
    """A message without the secrets: each form of them blotted out, or the whole withheld where a gap would tell it."""
    forms = sorted({form for secret in secrets for form in forms_of(secret)}, key=len, reverse=True)
    for form in forms:
        if not is_plain(form):
            text = text.replace(form, SHOWN)
    alone = (rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" for form in forms if is_plain(form))
    return WITHHELD if any(re.search(pattern, text) for pattern in alone) else text
