"""What must not leave a learner's machine: keys, folders, names of the account and the machine."""

import getpass
import os
import re
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.files import REPO_DIR

SHORTEST_KEY = 8  # characters of an environment variable's value
SHORTEST_NAME = 3
COMMON_NAMES = ("root", "user", "admin", "jovyan", "runner", "ubuntu", "nobody", "localhost")
KEY_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
KEYS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "a ModelScope token": r"\bms-[0-9a-f]{8}-[0-9a-f-]{20,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{16,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a key": r"(?i)\w*(?:api_?key|token|secret|password)\w*[\"']?\]?\s*[:=]\s*\\?[\"']"
    r"(?=[^\"']*\d)[A-Za-z0-9_\-]{16,}",
}
HOMES = r"(?:/home/|/Users/|[A-Za-z]:[\\/]+Users[\\/]+)[^\s/\\\"'<>]+|/root(?=[/\s\"']|$)"
# An absolute path of two parts or more; not a URL, not the end of an HTML element.
UNIX_PATH = r"(?<![\w.:/<>~-])/(?:[\w.@+~-]+/)+[\w.@+~-]*"
WINDOWS_PATH = r"\b[A-Za-z]:\\+[^\s\"'<>|]+"


@dataclass(frozen=True)
class Private:
    """What to look for on this machine.

    Args:
        folders: absolute paths that say whose machine it is, the longest first.
        names: of the account and of the machine, where they are no ordinary words.
        keys: values of environment variables that look like keys, by the variable.
    """

    folders: tuple[str, ...]
    names: tuple[str, ...]
    keys: dict[str, str] = field(default_factory=dict, repr=False)

    def find(self, text: str) -> list[str]:
        """What a text of the learner's own holds; the key itself is never said.

        Args:
            text: such as a cell.

        Returns:
            One short phrase for each kind, such as "a Hugging Face token".
        """
        found = [kind for kind, pattern in KEYS.items() if re.search(pattern, text)]
        found += [f"the value of {name}" for name, value in self.keys.items() if value in text]
        is_path = any(folder in text for folder in self.folders) or re.search(HOMES, text)
        return found + (["a folder of your machine"] if is_path else [])

    def clean(self, text: str) -> str:
        """A text that a program wrote, with a mark in place of each private thing.

        Args:
            text: such as the output of a cell.
        """
        for value in self.keys.values():
            text = text.replace(value, "<key>")
        for pattern in KEYS.values():
            text = re.sub(pattern, "<key>", text)
        for folder in self.folders:
            text = text.replace(folder, "<path>")
        for pattern in (HOMES, UNIX_PATH, WINDOWS_PATH):
            text = re.sub(pattern, "<path>", text)
        for name in self.names:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<name>", text)
        return text


def of_this_machine() -> Private:
    """Look up what is private here; nothing of it is written anywhere."""
    places = [Path.home(), Path.cwd(), REPO_DIR, Path(sys.prefix)]
    folders = {str(p) for place in places for p in (place, place.resolve())}
    names = {os.environ.get(n, "") for n in ("USER", "LOGNAME", "USERNAME")}
    names |= {_account(), socket.gethostname(), Path.home().name}
    keys = {
        name: value
        for name, value in os.environ.items()
        if KEY_VARIABLE.search(name) and len(value) >= SHORTEST_KEY and not value.startswith("/")
    }
    return Private(
        tuple(sorted((f for f in folders if len(f) > 1), key=len, reverse=True)),
        tuple(sorted(n for n in names if len(n) >= SHORTEST_NAME and n not in COMMON_NAMES)),
        keys,
    )


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name, as in some containers
        return ""
