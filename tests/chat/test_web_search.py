import http.server
import json
import logging
import threading

import pytest

from course_lib import files
from course_lib.chat import agent, speakers, web_search
from course_lib.data import react
from course_lib.errors import DataError, EnvironmentProblem

KEY = "k3y-0123456789abcdef"
ORGANIC = [
    {"title": "Nile", "link": "https://a.example/", "snippet": "A  river.", "position": 1},
    {"title": "Congo", "link": "https://b.example/", "snippet": "Another\nriver."},
    {"title": "Only a title"},
    {"sitelinks": []},
    "nonsense",
]
GOOD = json.dumps({"searchParameters": {"q": "x"}, "organic": ORGANIC})


class Server(http.server.ThreadingHTTPServer):
    """Speaks Serper's JSON; `script` holds what it does with each request, the last for ever."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.seen, self.release = [], [], threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/search"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seen = self.server.seen
        seen.append((self.path, self.headers["X-API-KEY"], json.loads(body)))
        script = self.server.script
        status, text, *more = script[min(len(seen), len(script)) - 1]
        if status == "hang":
            self.server.release.wait(30)
            return
        if status == "cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            return
        self.send_response(status)
        for name, value in more:
            self.send_header(name, value)
        data = text if isinstance(text, bytes) else text.encode()
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        """Nothing."""


@pytest.fixture
def server():
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.release.set()
    made.shutdown()
    made.server_close()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def engine(server, waits):
    return web_search.SerperEngine(KEY, server.url, timeout_s=5, sleep=waits.append)


def test_a_search_sends_what_serper_wants_and_reads_its_answer(server, engine):
    server.script = [(200, GOOD)]
    assert engine.search("rivers", 5) == [
        web_search.Found("Nile", "A river.", "https://a.example/"),
        web_search.Found("Congo", "Another river.", "https://b.example/"),
        web_search.Found("Only a title", ""),
    ]
    assert server.seen == [("/search", KEY, {"q": "rivers", "num": 5})]
    assert len(engine.search("rivers", 1)) == 1


# worked out by hand
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"organic": []}, []),
        ({}, []),
        ({"organic": {"title": "x"}}, []),
        ({"organic": [{"title": 3, "snippet": ["x"]}]}, []),
        ({"answerBox": {"answer": "42"}}, [("", "42")]),
        ({"answerBox": {"title": "T", "snippet": "S"}}, [("T", "S")]),
        ({"knowledgeGraph": {"title": "K", "description": "D"}}, [("K", "D")]),
        (
            {
                "organic": [{"title": "O", "snippet": "o"}],
                "knowledgeGraph": {"title": "K"},
                "answerBox": {"answer": "A", "snippet": "B"},
            },
            [("", "A"), ("K", ""), ("O", "o")],
        ),
    ],
)
def test_answers_are_read_googles_own_first(answer, found):
    results = web_search.read_answer(json.dumps(answer))
    assert [(one.title, one.snippet) for one in results] == found


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_with_longer_waits(status, server, engine, waits):
    server.script = [(status, "busy"), (status, "busy"), (200, GOOD)]
    assert len(engine.search("x", 3)) == 3
    assert waits == [0.5, 1.0]


def test_a_server_may_say_how_long_to_wait_within_reason(server, engine, waits):
    wait = ("Retry-After", "2")
    server.script = [(429, "", wait), (429, "", ("Retry-After", "86400")), (200, GOOD)]
    engine.search("x", 1)
    assert waits == [2.0, web_search.MAX_WAIT_S]


@pytest.mark.parametrize(
    ("status", "text", "tries", "message"),
    [
        (429, "quota", 3, "takes no more searches for now .HTTP 429."),
        (500, "oops", 3, "answers HTTP 500"),
        (403, '{"message": "Unauthorized."}', 1, "refuses the key .HTTP 403"),
        (401, "", 1, "refuses the key .HTTP 401"),
        (400, "bad", 1, "answers HTTP 400"),
        (404, "", 1, "answers HTTP 404"),
        (301, "", 1, "answers HTTP 301"),
        (200, "<html>no</html>", 1, "is no JSON object"),
        (200, "[1]", 1, "is no JSON object"),
        (200, "", 1, "is no JSON object"),
        (200, b"\xff\xfe\x00garbage", 1, "is no JSON object"),
        (200, "[" * 200_000, 1, "is no JSON object"),
        (200, b"x" * (web_search.MAX_BYTES + 1), 1, "more than 2,000,000 bytes"),
        ("cut", "", 3, "cannot be reached .RemoteProtocolError"),
    ],
)
def test_a_search_that_fails_says_why(status, text, tries, message, server, engine):
    server.script = [(status, text, ("Location", "http://127.0.0.1:9/"))]
    with pytest.raises(EnvironmentProblem, match=message) as found:
        engine.search("x", 1)
    assert len(server.seen) == tries
    assert KEY not in str(found.value)


def test_a_server_that_hangs_is_left_alone(server, waits):
    server.script = [("hang", "")]
    engine = web_search.SerperEngine(KEY, server.url, 0.3, attempts=2, sleep=waits.append)
    with pytest.raises(EnvironmentProblem, match=r"No answer within 0\.3 s"):
        engine.search("x", 1)
    assert waits == [0.5]  # it was asked twice


def test_no_network_is_said(waits):
    engine = web_search.SerperEngine(KEY, "http://127.0.0.1:9/search", sleep=waits.append)
    with pytest.raises(EnvironmentProblem, match=r"cannot be reached \(ConnectError"):
        engine.search("x", 1)
    assert len(waits) == 2


@pytest.mark.parametrize("key", [None, "", "  ", "k\x00y", "clé", "a\nb"])
def test_a_key_that_is_none_is_said(key, monkeypatch):
    monkeypatch.delenv(web_search.KEY_VARIABLE, raising=False)
    with pytest.raises(EnvironmentProblem, match=f"{web_search.KEY_VARIABLE} (is not|holds)") as e:
        web_search.SerperEngine(key)
    assert not key or not key.strip() or key not in str(e.value)


def test_the_key_comes_from_the_environment(server, monkeypatch):
    monkeypatch.setenv(web_search.KEY_VARIABLE, f" {KEY}\n")
    server.script = [(200, GOOD)]
    web_search.SerperEngine(url=server.url).search("x", 1)
    assert server.seen[0][1] == KEY


@pytest.mark.parametrize("status", [200, 403, 429, 500])
def test_the_key_is_in_no_trace_no_log_and_no_text(status, server, engine, caplog, capfd):
    # a server that gives the key back, in every place
    leak = json.dumps({"organic": [{"title": KEY, "snippet": f"key={KEY}", "link": KEY}]})
    server.script = [(status, leak)]
    script = iter([react.call_text("", "web_search", {"query": "x"}), "Final Answer: ok"])
    speaker = speakers.ScriptedSpeaker(lambda _: next(script))
    tool = web_search.web_search_tool(engine)
    with caplog.at_level(logging.DEBUG):
        trace = agent.Agent(speaker, [tool]).ask("?")
    assert trace.answer == "ok"
    assert trace.steps[0].is_error == (status != 200)
    assert "HTTP Request" in caplog.text
    shown = [json.dumps(trace.as_json()), repr(engine), str(vars(tool)), caplog.text]
    shown += [*capfd.readouterr()]
    assert [text for text in shown if KEY in text] == []


# --- recorded ------------------------------------------------------------------------------------


def test_the_recorded_file_is_replayed_to_the_byte():
    text = web_search.RECORDED.read_bytes()
    engine = web_search.RecordedEngine()
    assert web_search.to_lines(engine.results).encode() == text
    twice = [
        json.dumps([one.__dict__ for q in made.results for one in made.search(q, 5)])
        for made in (engine, web_search.RecordedEngine())
    ]
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("capital of Australia", "Canberra: The capital of Australia is Canberra. (https"),
        ("CAPITAL of  australia?", "Canberra: The capital of Australia is Canberra. (https"),
        ("How high is Mount Everest", "Mount Everest: Mount Everest is 8,849 metres high. (https"),
        ("马拉松多长", "马拉松: 马拉松全长42.195公里。 (https"),
        ("capital of Mars", "No result."),
        ("xyzzy", "No result."),
    ],
)
def test_a_query_gets_the_recorded_results_of_the_one_most_like_it(query, text):
    tool = web_search.web_search_tool(web_search.RecordedEngine(), count=1)
    assert tool.run({"query": query}).text.startswith(text)


def test_an_empty_query_is_said():
    tool = web_search.web_search_tool(web_search.RecordedEngine())
    assert tool.run({"query": " "}).text == "error: the query is empty"


def test_live_results_can_be_recorded_and_replayed(server, engine, tmp_path):
    server.script = [(200, GOOD)]
    path = tmp_path / "recorded.jsonl"
    web_search.record(engine, ["rivers"], path)
    first = path.read_bytes()
    web_search.record(engine, ["rivers"], path)
    assert path.read_bytes() == first
    web_search.record(engine, ["lakes"], path)
    replay = web_search.RecordedEngine(path)
    assert list(replay.results) == ["lakes", "rivers"]
    assert replay.search("rivers", 2) == engine.search("rivers", 2)
    server.script = [(403, "")]
    before = path.read_bytes()
    with pytest.raises(EnvironmentProblem):
        web_search.record(engine, ["seas"], path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("line", ["{}", '{"query": "x", "results": [{"name": 1}]}', "[1]", "x"])
def test_a_line_that_is_no_record_is_named(line, tmp_path):
    path = tmp_path / "recorded.jsonl"
    good = {"query": "a", "results": [{"title": "t", "snippet": "s"}]}
    files.write_atomic(path, json.dumps(good) + "\n" + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        web_search.RecordedEngine(path)


def test_a_missing_record_is_said(tmp_path):
    with pytest.raises(DataError, match="no recorded search results"):
        web_search.RecordedEngine(tmp_path / "none.jsonl")
