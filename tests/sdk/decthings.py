"""Drives a running simulated Decthings with the official client for Python.

Usage: decthings.py 'READY LINE', or the line on standard input. The line is the JSON object that the simulator prints
once it is ready; it has to run on this machine, since some tests have the shell write into a file. Prints one line per
test and at the end "N passed, M failed"; the exit status is 0 if none failed.

This version of the client cannot receive events. So it calls over HTTP here, and for the WebSocket only its encoder and
its decoder are used, over the WebSocket library that it brings along.

Install what it needs with: pip install -r requirements.txt
"""

import itertools
import json
import pathlib
import sys
import tempfile
import time
import traceback

import requests
from decthings_api import DecthingsClientSync
from decthings_api import protocol
from websockets.sync.client import connect

PATIENCE = 20


class Simulator:
    """What the ready line says, and a client for it."""

    def __init__(self, line):
        self.provider = line["provider"]
        self.target = {"modelId": line["target"]["model_id"], "executionLocation": line["target"]["execution_location"]}

    def client(self, **changes):
        return DecthingsClientSync(
            **{
                "api_key": self.provider["api_key"],
                "http_server_address": self.provider["http_url"],
                "ws_server_address": self.provider["ws_url"],
                **changes,
            }
        )

    def launch(self, client, **more):
        return good(client.terminal.launch_terminal_session({**self.target, **more}))["terminalSessionId"]


class Socket:
    """The WebSocket by way of the official encoder and decoder."""

    def __init__(self, simulator, socket):
        self.key = simulator.provider["api_key"]
        self.socket = socket
        self.ids = itertools.count()
        self.output = b""
        self.exit = None

    def call(self, method, params, *blobs):
        ident = next(self.ids)
        message = {"api": "Terminal", "method": method, "params": params, "apiKey": self.key}
        self.socket.send(protocol.serialize_for_websocket(ident, message, list(blobs)))
        while (reply := self.read()) is None or reply[0] != ident:
            pass
        return reply[1]

    def read(self):
        """Takes one message: the id and the JSON of a reply, or None for an event."""
        reply, event, blobs = protocol.deserialize_for_ws(self.socket.recv(timeout=PATIENCE))
        if reply is not None:
            assert not blobs
            return reply
        assert event["api"] == "Terminal", event
        if event["event"] == "data":
            assert len(blobs) == 1
            self.output += blobs[0]
        else:
            assert event["event"] == "exit" and not blobs, event
            self.exit = event["params"]["reason"]
        return None

    def expect(self, text):
        while text not in self.output:
            assert self.exit is None, f"the end in place of {text!r}, after {self.output!r}"
            self.read()


def good(answer):
    result, error = answer
    assert error is None, error
    return result


def bad(answer):
    result, error = answer
    assert result is None, result
    return error


def until_file_holds(path, text):
    """Waits until the shell has written."""
    deadline = time.monotonic() + PATIENCE
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text() if path.exists() else "no file"
        time.sleep(0.02)


def test_a_session_is_launched_written_to_resized_listed_and_terminated(simulator):
    client = simulator.client()
    session = simulator.launch(client, options={"cols": 90, "rows": 30})
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "said"

        def write(command):
            # The client leaves the data in the JSON as well.
            params = {"terminalSessionId": session, "data": f"{command} >> {path}\r"}
            assert good(client.terminal.write_to_terminal_session(params)) == {}

        write("echo answer=$((6*7))")
        until_file_holds(path, "answer=42")
        write("stty size")
        until_file_holds(path, "30 90")
        size = {"terminalSessionId": session, "size": {"cols": 101, "rows": 37}}
        assert good(client.terminal.resize_terminal_session(size)) == {}
        write("stty size")
        until_file_holds(path, "37 101")
        write("echo 終端é😀")
        until_file_holds(path, "終端é😀")
    listed = good(client.terminal.get_terminal_sessions({"terminalSessionIds": [session, "nobody"]}))
    (shown,) = listed["terminalSessions"]
    assert (shown["id"], shown["modelId"]) == (session, simulator.target["modelId"])
    assert shown["executionLocation"].items() >= simulator.target["executionLocation"].items(), shown
    assert shown["executionLocation"]["spec"]["cpus"] > 0
    assert abs(shown["startedAt"] / 1000 - time.time()) < 600, shown
    assert good(client.terminal.terminate_terminal_session({"terminalSessionId": session})) == {}
    assert session not in str(good(client.terminal.get_terminal_sessions({})))
    again = bad(client.terminal.terminate_terminal_session({"terminalSessionId": session}))
    assert again == {"code": "terminal_session_not_found"}


def test_a_temporary_launcher_is_shown_as_it_was_asked_for(simulator):
    client = simulator.client()
    place = {"type": "temporaryLauncher", "spec": {"cpus": 0.5, "memoryMebibytes": 512, "gpus": {"model": "L4", "count": 1}}}
    session = simulator.launch(client, executionLocation=place)
    (shown,) = good(client.terminal.get_terminal_sessions({"terminalSessionIds": [session]}))["terminalSessions"]
    assert shown["executionLocation"] == place, shown
    good(client.terminal.terminate_terminal_session({"terminalSessionId": session}))


def test_filesystem_access_can_be_added(simulator):
    client = simulator.client()
    model = simulator.target["modelId"]
    session = simulator.launch(client, options={"addFilesystemAccess": [{"modelId": model}]})
    add = client.terminal.add_filesystem_access_for_terminal_session
    assert good(add({"terminalSessionId": session, "modelId": model})) == {}
    assert bad(add({"terminalSessionId": session, "modelId": "none"})) == {"code": "model_not_found"}
    good(client.terminal.terminate_terminal_session({"terminalSessionId": session}))
    gone = bad(add({"terminalSessionId": session, "modelId": model}))
    assert gone == {"code": "terminal_session_not_found"}


def test_mistakes_are_told_by_their_codes(simulator):
    terminal = simulator.client().terminal
    launch = lambda **more: bad(terminal.launch_terminal_session({**simulator.target, **more}))
    assert launch(modelId="none") == {"code": "model_not_found"}
    nowhere = {"type": "persistentLauncher", "persistentLauncherId": "none"}
    assert launch(executionLocation=nowhere) == {"code": "persistent_launcher_not_found"}
    error = launch(executionLocation={"type": "elsewhere"})
    assert (error["code"], error["parameterName"]) == ("invalid_parameter", "executionLocation"), error
    assert error["reason"]


def test_who_has_no_good_key_is_refused(simulator):
    for key in ("wrong", None):
        client = simulator.client(api_key=key)
        assert bad(client.terminal.get_terminal_sessions({})) == {"code": "bad_credentials"}


def test_other_methods_are_404(simulator):
    try:
        simulator.client()._raw_method_call("Terminal", "attachToTerminalSession", {}, [])
    except requests.HTTPError as error:
        assert error.response.status_code == 404
        return
    raise AssertionError("not refused")


def test_the_encoder_and_the_decoder_get_along_with_the_websocket(simulator):
    with connect(simulator.provider["ws_url"], compression=None) as connection:
        socket = Socket(simulator, connection)
        session = socket.call("launchTerminalSession", simulator.target)["result"]["terminalSessionId"]
        of = {"terminalSessionId": session}
        assert socket.call("writeToTerminalSession", of, b"echo answer=$((6*7))\r") == {"result": {}}
        socket.expect(b"answer=42")
        socket.call("resizeTerminalSession", {**of, "size": {"cols": 101, "rows": 37}})
        socket.call("writeToTerminalSession", of, b"stty size\r")
        socket.expect(b"37 101")
        # Of each length that is encoded in its own way.
        for length in (252, 253, 65535, 65537):
            command = f"head -c {length} /dev/zero | tr '\\0' x; echo; echo e''nd{length}\r".encode()
            assert socket.call("writeToTerminalSession", of, command) == {"result": {}}
            socket.expect(b"x" * length + b"\r\nend" + str(length).encode())
        socket.call("writeToTerminalSession", of, b"stty raw -echo; echo rea''dy; head -c 70000 | wc -c; exit 3\r")
        socket.expect(b"ready")
        assert socket.call("writeToTerminalSession", of, b"y" * 70000) == {"result": {}}
        while socket.exit is None:
            socket.read()
        assert b"70000" in socket.output
        assert socket.exit == {"code": "process_exit", "exitCode": 3, "oom": False}, socket.exit


def main():
    line = json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.readline())
    simulator = Simulator(line)
    passed = failed = 0
    for name, test in list(globals().items()):
        if not name.startswith("test_"):
            continue
        title = name.removeprefix("test_").replace("_", " ")
        try:
            test(simulator)
        except Exception:
            failed += 1
            print(f"FAILED  {title}")
            traceback.print_exc()
        else:
            passed += 1
            print(f"passed  {title}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
