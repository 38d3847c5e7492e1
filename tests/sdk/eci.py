"""Drives a running simulated ECI with the official SDK for its calls and with a Node client for what they lead to.

Usage: eci.py 'READY LINE', or the line on standard input. The line is the JSON object that the simulator prints once it
is ready. Prints one line per test and at the end "N passed, M failed"; the exit status is 0 if none failed.

Install what it needs with: pip install -r requirements.txt, and npm ci
"""

import contextlib
import datetime
import json
import pathlib
import re
import subprocess
import sys
import traceback
from unittest import mock
from urllib.parse import urlsplit

from alibabacloud_eci20180808.client import Client
from alibabacloud_eci20180808.models import DescribeContainerGroupsRequest, ExecContainerCommandRequest
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_openapi.utils import Utils

PATIENCE = 60
NODE_CLIENT = pathlib.Path(__file__).parent / "eci_exec.mjs"
BASH = '["/bin/bash"]'


class Simulator:
    """What the ready line says, and a client for it."""

    def __init__(self, line):
        self.provider = line["provider"]
        self.group = line["target"]["container_group_id"]
        self.container = line["target"]["container_name"]
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

    def execute(self, command=BASH, client=None, tty=True, stdin=True, group=None, container=None, sync=None):
        request = ExecContainerCommandRequest(
            region_id=self.provider["region"],
            container_group_id=group or self.group,
            container_name=container or self.container,
            command=command,
            tty=tty,
            stdin=stdin,
            sync=sync,
        )
        answer = (client or self.client()).exec_container_command(request)
        assert answer.status_code == 200
        assert answer.body.request_id
        return answer.body

    def link(self, *arguments, **settings):
        return self.execute(*arguments, **settings).web_socket_uri

    def describe(self, **filters):
        request = DescribeContainerGroupsRequest(region_id=self.provider["region"], **filters)
        return self.client().describe_container_groups(request).body


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


def node(scene, link):
    """Plays a scene of the Node client with a link."""
    play = subprocess.run(
        ["node", str(NODE_CLIENT), scene, link], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert play.returncode == 0, f"{play.stdout}{play.stderr}"


def test_a_link_has_the_documented_shape(simulator):
    answer = simulator.execute()
    pattern = rf"ws://{re.escape(simulator.authority)}/exec/\?s=[\w-]{{43}}"
    assert re.fullmatch(pattern, answer.web_socket_uri), answer.web_socket_uri
    assert "/terminal?param=" in answer.http_url
    assert answer.sync_response is None
    assert simulator.link() != answer.web_socket_uri


def test_a_link_opens_a_terminal_that_takes_input_and_sizes(simulator):
    node("terminal", simulator.link())


def test_a_link_opens_once(simulator):
    link = simulator.link()
    node("terminal", link)
    node("gone", link)


def test_a_command_without_a_terminal_has_two_outputs(simulator):
    script = "printf 'out\\n'; printf 'err\\n' >&2; read line; printf 'got %s\\n' \"$line\"; tty"
    node("pipes", simulator.link(json.dumps(["/bin/sh", "-c", script]), tty=False))


def test_a_failure_is_told(simulator):
    node("failure", simulator.link(json.dumps(["/bin/sh", "-c", "exit 7"]), tty=False))
    node("failure", simulator.link(json.dumps(["/bin/sh", "-c", "exit 7"]), tty=True))


def test_bytes_survive(simulator):
    node("echo", simulator.link(json.dumps(["/bin/sh", "-c", "head -c 1000000"]), tty=False))


def test_a_ping_is_answered(simulator):
    node("ping", simulator.link())


def test_the_older_signature_is_accepted(simulator):
    node("terminal", simulator.link(client=simulator.client(signature_algorithm="v2")))


def test_container_groups_are_listed(simulator):
    listed = simulator.describe(limit=20)
    assert listed.total_count == len(listed.container_groups) >= 5
    group = next(group for group in listed.container_groups if group.container_group_id == simulator.group)
    assert group.status == "Running"
    container = next(container for container in group.containers if container.name == simulator.container)
    assert container.current_state.state == "Running"
    one = simulator.describe(container_group_ids=json.dumps([simulator.group]))
    assert [group.container_group_id for group in one.container_groups] == [simulator.group]
    page = simulator.describe(limit=2)
    assert len(page.container_groups) == 2
    more = simulator.describe(limit=2, next_token=page.next_token)
    assert more.container_groups[0].container_group_id != page.container_groups[0].container_group_id


def test_what_does_not_run_takes_no_command(simulator):
    groups = simulator.describe(limit=20).container_groups
    pending = next(group for group in groups if group.status == "Pending")
    ended = next(
        (group, container)
        for group in groups
        for container in group.containers
        if (group.status, container.current_state.state) == ("Running", "Terminated")
    )
    with refused("IncorrectStatus", 400):
        simulator.link(group=pending.container_group_id, container=pending.containers[0].name)
    with refused("IncorrectStatus", 400):
        simulator.link(group=ended[0].container_group_id, container=ended[1].name)
    with refused("InvalidParameter.ValueExceeded", 400):
        simulator.link(group="eci-none")


def test_an_over_long_command_is_refused(simulator):
    simulator.link(json.dumps(["x"] * 20))
    with refused("InvalidParameter.ValueExceeded", 400):
        simulator.link(json.dumps(["x"] * 21))
    simulator.link(json.dumps(["x" * 2044]))
    with refused("InvalidParameter.ValueExceeded", 400):
        simulator.link(json.dumps(["x" * 2045]))


def test_a_synchronous_command_is_answered_at_once(simulator):
    answer = simulator.execute(json.dumps(["/bin/echo", "Hello"]), tty=False, sync=True)
    assert answer.sync_response == "Hello\n"
    assert answer.web_socket_uri is None
    with refused("InvalidParameter.ValueExceeded", 400):
        simulator.execute(json.dumps(["/bin/echo", "Hello"]), tty=True, sync=True)
    with refused("InvalidParameter.ValueExceeded", 400):
        simulator.execute(BASH, tty=False, sync=True)


def test_a_wrong_secret_is_refused(simulator):
    for algorithm in (None, "v2"):
        with refused("SignatureDoesNotMatch", 400):
            simulator.link(client=simulator.client(access_key_secret="wrong", signature_algorithm=algorithm))


def test_an_unknown_key_is_refused(simulator):
    with refused("InvalidAccessKeyId.NotFound", 404):
        simulator.link(client=simulator.client(access_key_id="nobody"))


def test_a_token_that_the_key_does_not_have_is_refused(simulator):
    for algorithm in (None, "v2"):
        with refused("InvalidSecurityToken.Malformed", 403):
            simulator.link(client=simulator.client(security_token="token/+=", signature_algorithm=algorithm))


def test_a_stale_clock_is_refused(simulator):
    def at(minutes):
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        return mock.patch.object(Utils, "get_timestamp", lambda: moment.strftime("%Y-%m-%dT%H:%M:%SZ"))

    for algorithm in (None, "v2"):
        client = simulator.client(signature_algorithm=algorithm)
        for minutes in (-16, 16):
            with at(minutes), refused("InvalidTimeStamp.Expired", 400):
                simulator.link(client=client)
        for minutes in (-14, 14):
            with at(minutes):
                assert simulator.link(client=client)


def test_a_used_nonce_is_refused(simulator):
    for algorithm in (None, "v2"):
        client = simulator.client(signature_algorithm=algorithm)
        nonce = Utils.get_nonce()
        with mock.patch.object(Utils, "get_nonce", lambda nonce=nonce: nonce):
            assert simulator.link(client=client)
            with refused("SignatureNonceUsed", 400):
                simulator.link(client=client)


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
