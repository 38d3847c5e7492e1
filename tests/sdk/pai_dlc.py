"""Drives a running simulated PAI-DLC with the official SDK.

Usage: pai_dlc.py 'READY LINE', or the line on standard input. The line is the JSON object that the simulator prints
once it is ready. Prints one line per test and at the end "N passed, M failed"; the exit status is 0 if none failed.

Install what it needs with: pip install -r requirements.txt
"""

import contextlib
import datetime
import json
import re
import sys
import traceback
from unittest import mock
from urllib.parse import urlsplit

import websocket
from alibabacloud_pai_dlc20201203.client import Client
from alibabacloud_pai_dlc20201203.models import GetJobRequest, GetWebTerminalRequest, ListJobsRequest
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import Config

PATIENCE = 20


class Simulator:
    """What the ready line says, and a client for it."""

    def __init__(self, line):
        self.provider = line["provider"]
        self.job = line["target"]["job_id"]
        self.pod = line["target"]["pod_id"]
        self.authority = urlsplit(line["url"]).netloc

    def client(self, **changes):
        settings = {
            "access_key_id": self.provider["access_key_id"],
            "access_key_secret": self.provider["access_key_secret"],
            "security_token": self.provider.get("security_token"),
            "region_id": self.provider["region"],
            "endpoint": self.authority,
            "protocol": "http",
        }
        return Client(Config(**{**settings, **changes}))

    def link(self, client=None, shared=True, pod=None, **more):
        request = GetWebTerminalRequest(is_shared=shared, **more)
        answer = (client or self.client()).get_web_terminal(self.job, pod or self.pod, request)
        assert answer.status_code == 200
        assert answer.body.request_id
        return answer.body.web_terminal_url


class Terminal:
    """The official sample's side of the WebSocket."""

    def __init__(self, url):
        # As a program that is no browser: without an Origin.
        self.socket = websocket.create_connection(url, timeout=PATIENCE, suppress_origin=True)
        self.output = ""

    def send(self, **message):
        self.socket.send(json.dumps(message))

    def expect(self, text):
        while text not in self.output:
            assert self.read(), f"the end in place of {text!r}, after {self.output!r}"

    def read(self):
        """Takes one message; false at the end."""
        try:
            opcode, data = self.socket.recv_data()
        except websocket.WebSocketConnectionClosedException:
            return False
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return False
        assert opcode == websocket.ABNF.OPCODE_TEXT, opcode
        message = json.loads(data)
        assert sorted(message) == ["cols", "data", "operation", "rows"], message
        assert message["operation"] == "stdout", message
        self.output += message["data"]
        return True


@contextlib.contextmanager
def refused(code, status):
    """The block is refused by the API with this code and status."""
    try:
        yield
    except AlibabaCloudException as error:
        assert (error.code, error.status_code) == (code, status), (error.code, error.status_code, error.message)
        assert error.request_id, "a refusal names its request"
        return
    raise AssertionError(f"not refused with {code}")


def upgrade_status(url):
    """The HTTP status of an upgrade that is refused."""
    try:
        websocket.create_connection(url, timeout=PATIENCE, suppress_origin=True).close()
    except websocket.WebSocketBadStatusException as error:
        return error.status_code
    return 101


def test_a_link_has_the_documented_shape(simulator):
    link = simulator.link()
    pattern = rf"ws://{re.escape(simulator.authority)}/terminal/t\d+/{simulator.job}/{simulator.pod}\?Token=[\w-]{{43}}"
    assert re.fullmatch(pattern, link), link
    assert simulator.link() != link


def test_a_link_opens_a_real_terminal_once(simulator):
    link = simulator.link()
    terminal = Terminal(link)
    terminal.send(operation="resize", cols=101, rows=37)
    terminal.send(operation="stdin", data="echo answer=$((6*7)); stty size; tty\r")
    terminal.expect("answer=42")
    terminal.expect("37 101")
    terminal.expect("/dev/pts/")
    assert upgrade_status(link) == 404, "a second use"
    terminal.send(operation="stdin", data="exit\r")
    while terminal.read():
        pass


def test_a_link_that_is_not_shared_needs_an_identity(simulator):
    assert upgrade_status(simulator.link(shared=False)) == 403
    assert upgrade_status(simulator.link(shared=None)) == 403


def test_the_older_signature_is_accepted(simulator):
    terminal = Terminal(simulator.link(simulator.client(signature_algorithm="v2")))
    terminal.send(operation="stdin", data="echo old''er\r")
    terminal.expect("older")


def test_jobs_and_pods_are_listed(simulator):
    client = simulator.client()
    listed = client.list_jobs(ListJobsRequest(page_size=50, show_own=True)).body
    assert listed.total_count == len(listed.jobs) >= 3
    assert simulator.job in [job.job_id for job in listed.jobs if job.status == "Running"]
    assert "Stopped" in [job.status for job in listed.jobs]
    running = client.list_jobs(ListJobsRequest(status="Running")).body
    assert {job.status for job in running.jobs} == {"Running"}
    job = client.get_job(simulator.job, GetJobRequest(need_detail=True)).body
    assert (job.job_id, job.status) == (simulator.job, "Running")
    pod = next(pod for pod in job.pods if pod.pod_id == simulator.pod)
    assert (pod.status, pod.type) == ("Running", "Worker")
    assert simulator.link(pod_uid=pod.pod_uid)
    with refused("NotFound", 404):
        simulator.link(pod_uid=pod.history_pods[0].pod_uid)


def test_what_has_no_terminal_says_why(simulator):
    client = simulator.client()
    jobs = client.list_jobs(ListJobsRequest(page_size=50)).body.jobs
    stopped = next(job for job in jobs if job.status == "Stopped")
    with refused("BadRequest", 400):
        client.get_web_terminal(stopped.job_id, stopped.pods[0].pod_id, GetWebTerminalRequest(is_shared=True))
    done = next((job, pod) for job in jobs for pod in job.pods if (job.status, pod.status) == ("Running", "Succeeded"))
    with refused("BadRequest", 400):
        client.get_web_terminal(done[0].job_id, done[1].pod_id, GetWebTerminalRequest(is_shared=True))
    with refused("NotFound", 404):
        simulator.link(pod="no/such pod?")


def test_a_wrong_secret_is_refused(simulator):
    for algorithm in (None, "v2"):
        with refused("SignatureDoesNotMatch", 400):
            simulator.link(simulator.client(access_key_secret="wrong", signature_algorithm=algorithm))


def test_an_unknown_key_is_refused(simulator):
    with refused("InvalidAccessKeyId.NotFound", 404):
        simulator.link(simulator.client(access_key_id="nobody"))


def test_a_token_that_the_key_does_not_have_is_refused(simulator):
    with refused("InvalidSecurityToken.Malformed", 403):
        simulator.link(simulator.client(security_token="token/+="))


def test_a_stale_clock_is_refused(simulator):
    def at(minutes):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        return mock.patch.object(Utils, "get_timestamp", lambda: moment.strftime("%Y-%m-%dT%H:%M:%SZ"))

    for minutes in (-16, 16):
        with at(minutes), refused("InvalidTimeStamp.Expired", 400):
            simulator.link()
    for minutes in (-14, 14):
        with at(minutes):
            assert simulator.link()


def test_a_used_nonce_is_refused(simulator):
    nonce = Utils.get_nonce()
    with mock.patch.object(Utils, "get_nonce", lambda: nonce):
        assert simulator.link()
        with refused("SignatureNonceUsed", 400):
            simulator.link()


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
