"""Fetch one file from the network, whole or not at all, and only when a learner asks for it."""

import os
import tempfile
from pathlib import Path

from course_lib.errors import DataError, EnvironmentProblem

# The spreadsheet behind lesson 03: Ben Abacha et al., "Bridging the gap between consumers'
# medication questions and trusted answers", MedInfo 2019. Not part of this project.
MEDICATION_QA_URL = (
    "https://raw.githubusercontent.com/abachaa/Medication_QA_MedInfo2019/master/"
    "MedInfo2019-QA-Medications.xlsx"
)
MOST_BYTES = 50_000_000


def fetch_file(url: str, path: Path, timeout_s: float = 20) -> Path:
    """Download a file, unless it is there already.

    Args:
        url: begins with https://.
        path: where it goes.
        timeout_s: seconds to wait for the server.

    Returns:
        The file.

    Raises:
        DataError: the address is not https, or the file has more than `MOST_BYTES`.
        EnvironmentProblem: there is no network, or the server does not give the file.
    """
    import urllib.request  # takes 20 ms

    if path.is_file():
        return path
    if not url.startswith("https://"):
        raise DataError(f"{url} is not a https address.", "Give one that begins with https://.")
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply:  # noqa: S310 - https only
            data = reply.read(MOST_BYTES + 1)
    except OSError as error:  # URLError, HTTPError and time-outs are OSErrors
        raise EnvironmentProblem(
            f"{url} cannot be fetched: {getattr(error, 'reason', None) or error}.",
            f"Connect to the network, or download it elsewhere and put it at {path.name}.",
        ) from error
    if len(data) > MOST_BYTES:
        raise DataError(
            f"{url} has more than {MOST_BYTES:,} bytes.", "Download it by hand and look at it."
        )
    _write_bytes(path, data)
    return path


def _write_bytes(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it, so that half a file never has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, staged = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(staged, path)
    except BaseException:
        Path(staged).unlink(missing_ok=True)
        raise
