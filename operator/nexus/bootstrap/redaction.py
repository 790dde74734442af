"""What the bootstraps of http and sql tasks share: secrets kept out of all that a task tells."""

from __future__ import annotations

import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

SHOWN = "***"
WITHHELD = (
    "its message is withheld because it may contain a secret that is too short, or too common a word, to be redacted"
)

# A gap in a well-known message gives a word away: `connection *** failed` has only one reading. Shorter than these, a
# secret of that kind is met by chance, and a message in which it stands as a word of its own is not shown at all.
SHORT = 4  # characters of any kind
SHORT_WORD = 12  # letters only
SHORT_NUMBER = 8  # digits only

LEAST_PART = 4  # characters of the shortest part of a secret that is hidden by itself
LEAST_BASE64 = 8  # characters of the shortest base64 that is looked for within longer base64
MOST_ENDS = 20  # delimiters of one secret at which it may be quoted from, or up to
MOST_FORMS = 20_000  # above it a message takes seconds to search, and is not shown at all

DELIMITERS = re.compile(r"""[/?#&=:@;,|\s"'\\{}()<>\[\]]+""")
BEHIND_AUTHORITY = re.compile(r"[/?#]")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
# What an escaped character ends in does not belong to the word behind it: %3Asecret, \nsecret, \u0022secret.
ESCAPE = re.compile(r"(?:%[0-9a-f]{2}|\\(?:[a-z]|u[0-9a-f]{4}|x[0-9a-f]{2}))$")


def redacted(text: str, secrets: AbstractSet[str], parts: AbstractSet[str] = frozenset()) -> str:
    """Return a message with `***` for each form of the secrets and of `parts` of them, in capitals or not; the whole is
    withheld where a gap would give a secret away. A part that is a plain word is hidden only as a word of its own."""
    # A blank or a dash is not a secret, and is in every message.
    telling = [secret for secret in secrets if len(secret) >= SHORT or any(one.isalnum() for one in secret)]
    whole = {folded(form) for secret in telling for form in forms_of(secret)}
    pieces = {folded(form) for part in parts for form in forms_of(part)} - whole
    if len(whole) + len(pieces) > MOST_FORMS:
        return WITHHELD
    plain = folded(text)
    spans: list[tuple[int, int]] = []
    for form in whole | pieces:
        found = places(plain, form)
        if form in whole and is_plain(form):
            if any(True for _ in found):
                return WITHHELD
        else:
            spans += found
    return blotted(text, sorted(spans))


def blotted(text: str, spans: list[tuple[int, int]]) -> str:
    """Return the text without the spans, which come in order and may overlap; those that touch become one."""
    kept: list[str] = []
    end = 0
    for begin, stop in spans:
        if begin > end or not kept:
            kept += [text[end:begin], SHOWN]
        end = max(end, stop)
    return "".join([*kept, text[end:]])


def places(text: str, form: str) -> Iterator[tuple[int, int]]:
    """Yield where a form begins and ends; a plain one only as a word of its own. Places may overlap."""
    anywhere = not is_plain(form)
    begin = text.find(form)
    while begin >= 0:
        stop = begin + len(form)
        if anywhere or stands_alone(text, begin, stop):
            yield begin, stop
        begin = text.find(form, begin + 1)


def stands_alone(text: str, begin: int, stop: int) -> bool:
    """Return whether no letter or digit touches what begins and stops there."""
    if stop < len(text) and text[stop].isalnum():
        return False
    if begin == 0 or not text[begin - 1].isalnum():
        return True
    return ESCAPE.search(text, max(begin - 6, 0), begin) is not None


def is_plain(form: str) -> bool:
    """Return whether a message may hold these characters by chance."""
    return (
        len(form) < SHORT
        or (len(form) < SHORT_WORD and form.isalpha())
        or (len(form) < SHORT_NUMBER and form.isdigit())
    )


def folded(text: str) -> str:
    """Return the text in lower case, character by character, so that places in it are places in the text."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def forms_of(secret: str) -> set[str]:
    """Return how a secret may be written in a message: as it is, percent-encoded (twice too) and decoded, as Python,
    JSON and HTML quote it, and as base64."""
    from urllib.parse import quote, quote_plus, unquote

    found: set[str] = set()
    for value in {secret, secret.strip()}:
        data = value.encode("utf-8", "replace")
        kept, plain = (json.dumps(value, ensure_ascii=only)[1:-1] for only in (False, True))
        quoted = {repr(value)[1:-1], ascii(value)[1:-1], repr(data)[2:-1]}
        # As a part of a longer text, which may hold quotes of both kinds.
        found |= quoted | {text.replace("\\'", "'").replace("'", "\\'") for text in quoted} | {value}
        # A service that quotes the JSON it was sent, within JSON of its own.
        found |= {kept, plain, json.dumps(kept, ensure_ascii=False)[1:-1], json.dumps(plain)[1:-1]}
        found |= {text.replace("/", "\\/") for text in (kept, plain)}
        # What SQLAlchemy (blanks, plus signs), RFC 3986, encodeURIComponent and encodeURI leave as it is.
        kinds = ("", "/", " +", "/:@", "!'()*", ";,/?:@&=+$#!'()*")
        codes = {quote(data, safe) for safe in kinds} | {quote_plus(data)}
        found |= codes | {quote(code, "") for code in codes} | {unquote(value)}
        found |= html_forms(value) | base64_forms(data)
        if not value.isascii():
            # Where one side takes UTF-8 for Latin-1, or sends Latin-1.
            latin = value.encode("latin-1", "replace")
            found |= {data.decode("latin-1"), latin.decode("utf-8", "replace"), quote(latin, ""), repr(latin)[2:-1]}
    return found - {""}


def html_forms(value: str) -> set[str]:
    """As HTML quotes it; each language has its own codes for quotes."""
    text = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    codes = (('"', "'"), ("&quot;", "'"), ("&quot;", "&#39;"), ("&quot;", "&#x27;"), ("&#34;", "&#39;"))
    return {text.replace('"', double).replace("'", single) for double, single in codes}


def base64_forms(data: bytes) -> set[str]:
    """Return the base64 of some bytes, and what of it is the same at any offset within something longer, as the
    password of a Basic header does."""
    import base64

    whole = base64.b64encode(data).decode()
    found = {whole, whole.rstrip("=")}
    # Where the bytes begin in a group of three: left out is what shares a character with the bytes beside them.
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        inner = text[skipped : len(text) - (1 if (before + len(data)) % 3 else 0)]
        if len(inner) >= LEAST_BASE64:
            found.add(inner)
    return found | {text.replace("+", "-").replace("/", "_") for text in found}


def parts_of(secret: str) -> set[str]:
    """Return what a server may quote of a secret without the rest of it: of a URL the credentials, path and query, but
    not the host; of a pair its halves; of base64 what it decodes to."""
    found: set[str] = set()
    tail = secret
    scheme, is_url, rest = secret.partition("://")
    if is_url and re.fullmatch(r"[\w+.-]+", scheme.strip()):
        authority = BEHIND_AUTHORITY.split(rest, maxsplit=1)[0]
        tail = rest[len(authority) :]
        credentials, has_them, _ = authority.rpartition("@")
        if not has_them and "@" in tail:  # a password with a character that should have been percent-encoded
            credentials = rest.rpartition("@")[0]
        if credentials:
            found |= {*pair(credentials), *ends(credentials)}
    found |= {*ends(tail), *ends(tail.partition("?")[0])}
    plain = of_base64(secret.rsplit(" ", maxsplit=1)[-1].strip())
    if plain:
        found |= {plain, *ends(plain)}
    return {part for part in found if len(part) >= LEAST_PART}


def credentials_of(url: str) -> set[str]:
    """Return what a URL holds of `user:password@`; the pair is sent as base64."""
    credentials, has_them, _ = BEHIND_AUTHORITY.split(url.partition("://")[2], maxsplit=1)[0].rpartition("@")
    return {part for part in pair(credentials) if part} if has_them else set()


def pair(credentials: str) -> Iterator[str]:
    """Yield `user:password`, as it is written and as it is sent, and the password."""
    from urllib.parse import unquote

    user, colon, password = credentials.partition(":")
    yield credentials
    yield f"{unquote(user)}:{unquote(password)}"
    yield unquote(password if colon else user)


def ends(text: str) -> Iterator[str]:
    """Yield what delimiters set apart, and what begins or ends at one of them."""
    yield from DELIMITERS.split(text)
    for found in list(DELIMITERS.finditer(text))[:MOST_ENDS]:
        yield text[found.end() :]
        yield text[: found.start()]


def of_base64(text: str) -> str:
    """Return the text of which this is the base64, as `user:password` is sent in a Basic header; empty where it is
    none."""
    import base64
    import binascii

    if not BASE64.fullmatch(text):
        return ""
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        plain = base64.b64decode(bare + "=" * (-len(bare) % 4)).decode()
    except (binascii.Error, ValueError):
        return ""
    return plain if plain.isprintable() else ""
