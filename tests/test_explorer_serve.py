"""The explorer's server, its command line, and a network on the page."""

import http.client
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convscape.arithmetic import InputError, Window
from convscape.arithmetic.builder import Builder
from convscape.arithmetic.network import Network
from convscape.cli.explore import explore
from convscape.figures.explorer.network import describe
from convscape.figures.explorer.serve import HOST, Server
from convscape.figures.explorer.settings import layer_of
from tests.explorer_support import Tab, browser, serving


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as started:
        yield started


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> Any:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), body


def test_it_listens_on_the_loopback_interface_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_the_policy_allows_its_own_files_and_nothing_else(server: Server) -> None:
    for path, kind in (("/", "html"), ("/explorer.css", "css"), ("/explorer.js", "javascript"),
                       ("/page.js", "javascript")):  # fmt: skip
        status, headers, body = ask(server, path)
        assert status == 200
        assert kind in headers["Content-Type"]
        assert int(headers["Content-Length"]) == len(body) > 50
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, "/", "HEAD")[2] == b""


def test_only_the_four_files_exist(server: Server) -> None:
    for path in (
        "/serve.py",
        "/../pyproject.toml",
        "/%2e%2e/",
        "/etc/passwd",
        "//x",
        "/index.html",
    ):
        assert ask(server, path)[0] == 404, path
    assert ask(server, "/", "POST")[0] == 501


def test_another_sites_name_for_this_machine_is_refused(server: Server) -> None:
    assert ask(server, "/", Host="evil.example")[0] == 403
    assert ask(server, "/", Host=f"localhost:{server.server_port}")[0] == 200


def test_a_port_in_use_says_what_to_do(server: Server) -> None:
    with pytest.raises(InputError, match=r"port \d+: .*; choose another by --port") as error:
        Server(server.server_port)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--port 70000", "from 0 to 65535"),
        ("50 -k 3", "input is drawn up to 32"),
        ("5 -k 9", "must fit"),
        ("-k 3", "go with an input size"),
        ("5 -k 3 --input 3x3", "go with a model"),
        ("5x5 -k 3 --rank 1", "one number an axis"),
        ("5 --frob", "must understand its arguments"),
        ("nothing.here", "a model is a file"),
        ("5 -k 3 --export page.txt", "HTML file"),
        ("5 -k 3 --export /nowhere/at/all/page.html", "must be writable"),
    ],
)
def test_bad_arguments_say_the_rule_and_the_fix(arguments: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explore(arguments.split())


def test_the_command_line_writes_a_page_with_its_setting(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "page.html"
    explore(["5", "-k", "3", "-s", "2", "-p", "1", "--export", str(path)])
    assert str(path) in capsys.readouterr().out
    text = path.read_text()
    assert "#i=5&k=3&s=2&p=1" in text
    assert not re.search(r"""(src|href)=["']?https?:""", text)


def test_the_command_line_serves_and_ends_by_ctrl_c() -> None:
    # Whoever runs the tests in the background may have had Ctrl-C ignored, which is inherited.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from convscape.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "explore",
               "5", "-k", "3", "--port", "0", "--no-browser"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"the explorer is at http://127\.0\.0\.1:(\d+)/#i=5&k=3&s=1&p=0\n", line
        )
        assert found, line
        connection = http.client.HTTPConnection(HOST, int(found[1]), timeout=10)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_no_browser_says_so_and_prints_the_address(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    monkeypatch.setattr(Server, "serve_forever", lambda self: None)
    explore(["--port", "0"])
    said = capsys.readouterr().out
    assert re.search(r"http://127\.0\.0\.1:\d+/\n", said)
    assert "open this address in one yourself" in said


# ---- a network ----------------------------------------------------------------------------------


def some_network() -> Network:
    b = Builder("net <b>")
    x = b.input("x", (1, 3, 224, 224))
    here: dict[str, Any] = {"axes": (2, 3), "channel_axis": 1, "out_channels": 8}
    y = b.conv("stem <i>", x, (Window(7, 2, padding=(3, 3)),) * 2, **here)
    y = b.pool("pool", "max_pool", y, (Window(3, 2, padding=(1, 1)),) * 2, axes=(2, 3))
    y = b.conv("up", y, (Window(3, 1, 1, 2, (1, 2)),) * 2, transposed=True, **here)
    return b.network([y])


def test_a_layer_opens_with_its_own_windows_and_borders() -> None:
    found = {entry["name"]: entry for entry in describe(some_network())["layers"]}
    for name, cells in (("stem <i>", 224), ("pool", 112)):
        opened = found[name]["open"]["settings"]
        layer = layer_of(opened)
        w = layer.windows(opened["input"])[0]
        assert [w.kernel, w.stride, list(w.padding)] == [
            found[name]["windows"][0][key] for key in ("kernel", "stride", "padding")
        ]
        assert w.slack(opened["input"][0]) == w.slack(cells)
        assert max(opened["input"]) <= 32
    opened = found["up"]["open"]["settings"]
    assert (opened["operation"], opened["output_padding"]) == ("transposed", [1, 1])
    assert layer_of(opened).windows(opened["input"])[0] == Window(3, 1, 1, 2, (1, 2))


def test_a_networks_layers_fields_and_findings_are_on_the_page() -> None:
    network = describe(some_network())
    with browser() as started, serving(network) as server:
        tab = Tab(started, server.address)
        page = tab.open()
        shown = page.inner_text(".cs-tabpanel:visible")
        assert "net <b>" in shown
        for entry in network["layers"]:
            assert entry["name"] in shown
        assert len(network["findings"]) > 0
        for finding in network["findings"]:
            assert finding["message"] in shown
        page.click("button:has-text('stem <i>')")
        assert page.inner_text(".cs-name").startswith("Relationship 6")
        assert page.inner_text(".cs-ikspo tbody").split() == ["18", "7", "2", "3", "9"]
        assert "Drawn on 18×18 of its 224×224 cells" in page.inner_text(".cs-tabpanel:visible")
        page.click("button:has-text('up')")
        assert page.inner_text(".cs-name").startswith("Relationship 14")
        tab.close()
