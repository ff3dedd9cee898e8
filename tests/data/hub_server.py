"""A hub in this process: the part of the Hugging Face hub's API that downloads use, with faults."""

import contextlib
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from huggingface_hub import constants

COMMIT = "a" * 40
WEIGHTS = bytes(range(256)) * 2000
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "tokenizer.json": b"{}",
    "README.md": b"# A model",
    "pytorch_model.bin": b"pickle",
    "modeling_mine.py": b"import os",
    "original/consolidated.00.pth": b"pickle",
    "onnx/model.onnx": b"another form",
    "consolidated.safetensors": b"the same again",
    ".gitattributes": b"",
}


@dataclass
class Hub:
    """What the server has, does wrong, and was asked for.

    `repos` maps "models/owner/name" or "datasets/owner/name" to files. `statuses` maps a repo to a
    status and an error code. `cuts` maps a file to the bytes after which each answer ends early;
    `failing` files answer 500 to whoever goes on. `swapped` maps a file to what is sent in its
    place.
    """

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    statuses: dict[str, tuple[int, str]] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    swapped: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # method, file, range
    url: str = ""

    def sent(self, name):
        """The ranges that were asked of a file; empty text for the whole."""
        return [span for method, file, span in self.asked if (method, file) == ("GET", name)]


def git_sum(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_large(name):
    return name.endswith((".safetensors", ".bin", ".parquet"))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.answer(has_body=False)

    def do_GET(self):
        self.answer(has_body=True)

    def answer(self, has_body):
        path = urlsplit(self.path).path.strip("/")
        if path.startswith("api/"):
            self.answer_api(path.removeprefix("api/"))
            return
        repo, _, rest = path.partition("/resolve/")
        repo = repo if repo.startswith("datasets/") else f"models/{repo}"
        if not self.refuse(repo):
            self.answer_file(repo, rest.partition("/")[2], has_body)

    def refuse(self, repo):
        status, code = self.hub.statuses.get(repo, (0, ""))
        if not status and repo not in self.hub.repos:
            status, code = 401, "RepoNotFound"  # as the hub tells those who are not logged in
        if status:
            self.reply(status, b"{}", {"X-Error-Code": code} if code else {})
        return bool(status)

    def answer_api(self, path):
        repo = "/".join(path.split("/")[:3])
        if self.refuse(repo):
            return
        files = self.hub.repos[repo]
        if "/tree/" in path:
            entries = [self.entry(name, data, "oid", "path") for name, data in files.items()]
            self.reply_json([{"type": "file", **entry} for entry in entries])
            return
        siblings = [self.entry(name, data, "sha256", "rfilename") for name, data in files.items()]
        self.reply_json({"id": repo.split("/", 1)[1], "sha": COMMIT, "siblings": siblings})

    def entry(self, name, data, sum_key, name_key):
        made = {name_key: name, "size": len(data), "oid": git_sum(data), "blobId": git_sum(data)}
        if is_large(name):
            digest = hashlib.sha256(data).hexdigest()
            made["lfs"] = {sum_key: digest, "size": len(data), "pointerSize": 100}
        return made

    def answer_file(self, repo, name, has_body):
        data, span = self.hub.repos[repo][name], self.headers.get("Range") or ""
        self.hub.asked.append(("GET" if has_body else "HEAD", name, span))
        etag = hashlib.sha256(data).hexdigest() if is_large(name) else git_sum(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        data = self.hub.swapped.get(name, data)
        start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
        if start and name in self.hub.failing:
            self.reply(500, b"", {})
            return
        if span:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        cut = self.hub.cuts.get(name, []) if has_body else []
        self.reply(206 if span else 200, data[start:], headers, has_body, cut.pop(0) if cut else 0)

    def reply_json(self, value):
        self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def reply(self, status, data, headers, has_body=True, cut=0):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(data[:cut] if cut else data)
        if cut:
            self.close_connection = True


@contextlib.contextmanager
def serve():
    """Start a hub on the loopback.

    Yields:
        The hub.
    """
    hub = Hub()
    handler = type("OneHub", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def point_to(monkeypatch, url):
    """As HF_ENDPOINT does for a new process."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
