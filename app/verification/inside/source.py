"""The text of a file before it is parsed: size, invisible and look-alike characters, comments that switch checks off.

It refuses to be: style. What formats or lengthens lines is nobody's business here.
"""

from __future__ import annotations

import io
import re
import tokenize
import unicodedata

from .findings import Findings

MOST_BYTES = 60_000
MOST_LINES = 1500
MOST_TEXT = 10_000
MOST_DIGITS = 40

_SWITCHES = re.compile(
    r"#\s*(?:type:\s*ignore|mypy:|pyright:|pyre-|ruff:|flake8:|noqa\b|nosec\b|pylint:|pragma:|fmt:\s*(?:off|skip)|isort:)", re.IGNORECASE
)
_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_SECRET = re.compile(
    r"sk-ant-|\bsk-[A-Za-z0-9_-]{20}|\bAKIA[0-9A-Z]{16}|\bgh[pousr]_[A-Za-z0-9]{20}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\bxox[abps]-[A-Za-z0-9-]{10}|\beyJ[A-Za-z0-9_-]{20,}\.|\bAIza[0-9A-Za-z_-]{30}|\bsk_live_[0-9A-Za-z]{10}"
    r"|://[^/\s:@{}]+:[^/\s@{}]+@|\b[Bb]earer [A-Za-z0-9._-]{20,}"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|secret|api_?key|access_?key|auth_?token|private_?key|credential)s?(?:$|_)", re.IGNORECASE
)
_OPAQUE = re.compile(r"^(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9+/=_\-!@#$%^&*.]{10,}$")
_UNSEEN = frozenset({"Cf", "Cc", "Co", "Cn", "Cs", "Zl", "Zp"})
_SHOWS_NOTHING = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0x180B, 0x1810), *range(0xE0100, 0xE01F0))
}
"""Letters and marks that fonts leave blank; the selectors of emoji stay, since texts for people have them."""
_ALIKE = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE"})


def looks_secret(text: str, name: str = "") -> bool:
    """Whether a literal has the shape of a credential, or is an opaque text assigned to a name that says so."""
    return bool(_SECRET.search(text)) or bool(_SECRET_NAME.search(name) and _OPAQUE.match(text))


def check_text(text: str, findings: Findings) -> None:
    """Characters and sizes; needs no parse."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        findings.add("too_large", 1, f"The file has more than {MOST_BYTES} bytes.", "Move data into records or args and shorten the code.")
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        findings.add("too_large", 1, f"The file has more than {MOST_LINES} lines.", "Shorten it; one tool does one thing.")
    for number, line in enumerate(lines, 1):
        if not line.isascii():
            _check_line(line, number, findings)
        if any(character < " " and character != "\t" for character in line.rstrip("\r")) or "\x7f" in line:
            findings.add("invisible_character", number, "The line holds a control character.", "Write it as an escape such as '\\x00'.")
        if number <= 2 and (match := _CODING.match(line)) and match[1].lower() not in ("utf-8", "utf8"):
            findings.add("encoding", number, "The file declares an encoding of its own.", "Remove the coding comment; files are UTF-8.")


def _check_line(line: str, number: int, findings: Findings) -> None:
    for character in line:
        if character > "~" and (character in _SHOWS_NOTHING or unicodedata.category(character) in _UNSEEN):
            code = f"U+{ord(character):04X}"
            findings.add(
                "invisible_character",
                number,
                f"The line holds the invisible or direction-changing character {code}: it may read differently from what it does.",
                f"Remove it, or write it as an escape ({character!a}) inside a string.",
            )
    for word in re.findall(r"\w+", line):
        scripts = _ALIKE & {unicodedata.name(character, "?").split(" ", 1)[0] for character in word}
        if "LATIN" in scripts and len(scripts) > 1:
            findings.add("look_alike", number, f"The word {word!a} mixes scripts that look alike.", "Write it in one script.")


def check_tokens(text: str, findings: Findings) -> None:
    """Comments that switch checks off, identifiers that are not ASCII, huge literals. Needs text that parses."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line = token.start[0]
        if token.type == tokenize.COMMENT and (match := _SWITCHES.search(token.string)):
            findings.add(
                "check_switched_off",
                line,
                f"The comment {match.group()!r} switches a check off.",
                "Remove the comment and mend what the check says; every check counts here.",
            )
        elif token.type == tokenize.NAME and not token.string.isascii():
            findings.add("look_alike", line, f"The name {token.string!a} is not ASCII.", "Use ASCII letters, digits and underscores.")
        elif token.type == tokenize.NUMBER and len(token.string) > MOST_DIGITS:
            findings.add("literal_bounds", line, f"A number has more than {MOST_DIGITS} characters.", "Take it from args.")
