"""IRC's lines: read, compared and made safe. No connection here."""

import re
import string

LINE = 400  # bytes of text in a message; the protocol has 512 for all of it, with names that we do not know
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # ends of lines, colours, CTCP
FORMAT = re.compile(r"\x03(?:\d{1,2}(?:,\d{1,2})?)?|\x04(?:[0-9a-fA-F]{6})?|[\x00-\x1f\x7f]")
# How a server compares names. Only ASCII letters: two names that it keeps apart must never be one chat.
ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
FOLDS = {
    "ascii": ASCII,
    "rfc1459": ASCII | str.maketrans("[]\\~", "{}|^"),
    "strict-rfc1459": ASCII | str.maketrans("[]\\", "{}|"),
}


def parse(line):
    """A line of the server: tags, who, what, with what."""
    tags, prefix = {}, ""
    if line.startswith("@"):
        head, _, line = line[1:].partition(" ")
        tags = dict(tag.partition("=")[::2] for tag in head.split(";"))
    line = line.lstrip(" ")
    if line.startswith(":"):
        prefix, _, line = line[1:].partition(" ")
    line, colon, last = line.partition(" :")
    words = line.split() + ([last] if colon else [])
    return tags, prefix, words[0].upper() if words else "", words[1:]


def decoded(line):
    """A line's text; old clients write Latin-1."""
    line = line.rstrip(b"\r\n")
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def encoded(command, last=None):
    """One line for the server, whatever is in its words."""
    line = command if last is None else f"{command} :{last}"
    return CONTROL.sub("", line).encode()[:510] + b"\r\n"


def plain(text):
    """What somebody wrote, without colours; None for what no person wrote."""
    action = text.startswith("\x01ACTION ")
    if text.startswith("\x01") and not action:
        return None
    return FORMAT.sub("", text[8:] if action else text).strip()


def lines_of(text):
    """A text in lines that fit, without anything that the server or a client would obey."""
    for line in text.expandtabs(4).splitlines():
        line = CONTROL.sub("", line).rstrip()
        while line:
            part = line.encode()[:LINE].decode(errors="ignore")
            yield part
            line = line[len(part):]


def is_name(name):
    """Whether a chat can be one of a server's names: one word, and nothing else."""
    return bool(name) and not name.startswith(":") and not re.search(r"[\s,\x00-\x1f\x7f]", name)
