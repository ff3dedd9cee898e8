import io
import urllib.error
import urllib.request

import pytest

from course_lib.data import downloads
from course_lib.errors import DataError, EnvironmentProblem

URL = "https://example.org/sheet.xlsx"


@pytest.fixture
def serve(monkeypatch):
    """Let the network give some bytes, or fail."""

    def set_reply(reply):
        def urlopen(url, timeout):
            if isinstance(reply, Exception):
                raise reply
            return io.BytesIO(reply)

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    return set_reply


def test_a_file_is_fetched_once(serve, tmp_path):
    path = tmp_path / "new" / "sheet.xlsx"
    serve(b"cells")
    assert downloads.fetch_file(URL, path).read_bytes() == b"cells"
    serve(AssertionError("asked again"))
    assert downloads.fetch_file(URL, path).read_bytes() == b"cells"


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        urllib.error.HTTPError(URL, 404, "Not Found", {}, None),
        TimeoutError("timed out"),
    ],
)
def test_without_a_network_one_line_says_so_and_nothing_is_written(serve, tmp_path, error):
    serve(error)
    with pytest.raises(EnvironmentProblem, match=r"cannot be fetched: .*\n.*put it at sheet\.xlsx"):
        downloads.fetch_file(URL, tmp_path / "sheet.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_other_addresses_and_endless_files_are_refused(serve, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="not a https address"):
        downloads.fetch_file("file:///etc/hosts", tmp_path / "sheet.xlsx")
    monkeypatch.setattr(downloads, "MOST_BYTES", 4)
    serve(b"12345")
    with pytest.raises(DataError, match="more than 4 bytes"):
        downloads.fetch_file(URL, tmp_path / "sheet.xlsx")
    assert list(tmp_path.iterdir()) == []
