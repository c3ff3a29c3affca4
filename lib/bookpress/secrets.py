"""Keys of the user: kept from the notebooks, and taken out of what is written down."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

ENDINGS = (
    "KEYS?|TOKENS?|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|"
    "(?:^|_)(?:PWD|PAT|AUTH|DSN|COOKIE)"
)
# PWD and OLDPWD are working directories.
SECRET = re.compile(rf"(?!(?:OLD)?PWD$).*(?:{ENDINGS})", re.IGNORECASE)
# What no notebook needs: who is logged in, and where the secret lies.
PRIVATE = re.compile(
    rf"(?:WANDB|MLFLOW|AWS|AZURE|GOOGLE|GCP|SSH)_.*|(?!(?:OLD)?PWD).*(?:{ENDINGS})_(?:ID|FILE|PATH)",
    re.IGNORECASE,
)
# A download may need the proxy, whose password stays in its address.
PROXY = re.compile(r".*_PROXY", re.IGNORECASE)
PASSWORD_IN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]+)@", re.IGNORECASE)
# Shorter values (`true`, `none`, a year) are words of any text.
SHORTEST = 8


def hidden(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a notebook may see: all but keys, and what leads to keys.

    Hidden are names that end like a secret's (``…KEY``, ``…TOKEN``, ``…PASSWORD`` and such), the
    settings of trackers and clouds (``WANDB_…``, ``AWS_…``), and addresses with a password, but
    for proxies.
    """
    return {name: value for name, value in environment.items() if not _is_private(name, value)}


def redacted(text: str, environment: Mapping[str, str]) -> str:
    """Return ``text`` with ``***`` for every secret of the environment.

    Secrets are the values of variables whose names end like a secret's, and passwords in
    addresses, from eight characters on; as they are, as JSON or an address would write them, and
    in base64, alone or within something longer. A file that was JSON remains JSON.
    """
    forms = {form for secret in _secrets(environment) for form in _forms(secret)}
    if not forms:
        return text
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.sub("|".join(map(re.escape, longest_first)), "***", text)


def _is_private(name: str, value: str) -> bool:
    if SECRET.fullmatch(name) or PRIVATE.fullmatch(name):
        return True
    return bool(PASSWORD_IN_URL.search(value)) and not PROXY.fullmatch(name)


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Values that must not be seen; those of several lines also line by line."""
    for name, value in environment.items():
        found = [value.strip(), *value.split("\n")] if SECRET.fullmatch(name) else []
        found += PASSWORD_IN_URL.findall(value)
        yield from (part.strip() for part in found if len(part.strip()) >= SHORTEST)


def _forms(secret: str) -> Iterator[str]:
    """The secret as it may stand in a text, in a string of JSON, in JSON within JSON, and coded."""
    once = json.dumps(secret)[1:-1]
    yield from (secret, once, json.dumps(once)[1:-1])
    yield from (json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret), quote(secret, ""))
    yield quote_plus(secret)
    for core in _base64_cores(secret.encode(errors="surrogateescape")):
        yield from (core, core.translate(str.maketrans("+/", "-_")))


def _base64_cores(secret: bytes) -> Iterator[str]:
    """The base64 digits that hold nothing but the secret, for each of its three alignments."""
    for before in range(3):
        digits = base64.b64encode(bytes(before) + secret).decode()
        yield digits[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6]
