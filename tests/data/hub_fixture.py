"""A hub on the loopback, and this process pointed to it."""

import pytest
from huggingface_hub import constants, file_download

from tests.data import hub_server


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with hub_server.serve() as server:
        hub_server.point_to(monkeypatch, server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # it keeps whole pieces of 10 MB: here smaller ones
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        for name in ("HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        server.repos["models/me/model"] = dict(hub_server.MODEL)
        yield server
