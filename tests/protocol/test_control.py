# SPDX-License-Identifier: Apache-2.0
"""The control socket: what `swede control` asks, and what nobody should."""

import json
import os
import socket
import subprocess

import pytest
from control_client import Control, Refused
from vfio_user_client import VERSION_1, Function
from virtio_gpu_driver import FEATURES, FORMAT_B8G8R8A8, Gpu

from conftest import DeviceProcess, build_folder, wait_until

MAX_LINE = 64 * 1024
MAX_CLIENTS = 8


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    device = DeviceProcess(folder, "vfio-user",
                           ("--hostmem", "16M", "--outputs", "800x600,off,640x480",
                            "--control-path", str(folder / "control.sock")))
    device.control_path = folder / "control.sock"
    wait_until(device.control_path.exists, "the control socket")
    device.census_at_start = device.census()
    yield device
    assert device.stop() == 0, device.log()[-4000:]
    assert not device.control_path.exists(), "the control socket's file is left"
    assert not device.socket_path.exists(), "the device's socket file is left"


@pytest.fixture
def device(process):
    """Proves after each test that nothing of it is left and that the next client is served."""
    assert process.is_alive(), "an earlier test ended the device"
    yield process
    assert process.is_alive(), f"the device ended: {process.log()[-4000:]}"
    with Control(process.control_path) as control:
        assert control.ask("info")["process"] == process.process.pid
    process.settles()


@pytest.fixture
def control(device):
    with Control(device.control_path) as connected:
        yield connected


@pytest.fixture
def gpu(device):
    """A driver on the device."""
    with Function(device.socket_path) as function:
        yield Gpu(function.start(VERSION_1 | FEATURES))


def fill_resource(gpu, resource, width, height, pixels, form):
    """A 2D resource with these bytes in it."""
    ram = gpu.function.ram
    address = ram.allocate(len(pixels))
    ram.put(address, pixels)
    assert gpu.create_2d(resource, width, height, form) == 0x1100
    assert gpu.attach_backing(resource, [(address, len(pixels))]) == 0x1100
    assert gpu.transfer(resource, 0, 0, width, height) == 0x1100


def pattern(width, height):
    """Rows of B8G8R8X8, each pixel another, and their colours."""
    colours = [((x * 5) % 256, (y * 3) % 256, (x + y) % 256)
               for y in range(height) for x in range(width)]
    return b"".join(bytes((b, g, r, 0)) for r, g, b in colours), colours


# --- what is asked ---

def test_info_says_what_runs(device, control):
    info = control.ask("info")
    assert info["transport"] == "vfio-user"
    assert info["socket"] == str(device.socket_path)
    assert info["hostmem"] == 16 << 20
    assert info["client_connected"] is False
    assert "features" not in info
    assert info["outputs"] == [{"width": 800, "height": 600, "connected": True},
                               {"width": 1280, "height": 800, "connected": False},
                               {"width": 640, "height": 480, "connected": True}]
    census = info["census"]
    assert census["threads"] == device.threads()
    assert census["files"] == sum(device.files().values())
    assert census["resources"] == census["commands"] == census["host_bytes"] == 0


def test_info_counts_what_the_guest_holds(control, gpu):
    fill_resource(gpu, 1, 64, 32, bytes(64 * 32 * 4), FORMAT_B8G8R8A8)
    assert gpu.create_2d(2, 16, 16) == 0x1100
    info = control.ask("info")
    assert info["client_connected"] is True
    assert info["features"] == ["EDID", "RESOURCE_UUID", "RESOURCE_BLOB"]
    assert info["census"]["resources"] == 2
    assert info["census"]["host_bytes"] >= 64 * 32 * 4 + 16 * 16 * 4
    assert info["census"]["commands"] == 4


def test_client_is_forgotten_when_it_goes(device, control):
    with Function(device.socket_path) as function:
        assert Gpu(function.start()).create_2d(1, 16, 16) == 0x1100
        assert control.ask("info")["client_connected"] is True
    wait_until(lambda: not control.ask("info")["client_connected"], "the end of the client")
    assert control.ask("info")["census"]["resources"] == 0


def test_screenshot_is_the_guests_picture(control, gpu):
    width, height = 97, 41
    pixels, colours = pattern(width, height)
    fill_resource(gpu, 1, width, height, pixels, 2)
    assert gpu.set_scanout(0, 1, 0, 0, width, height) == 0x1100
    assert gpu.flush(1, 0, 0, width, height) == 0x1100
    picture = control.screenshot(0)
    assert (picture.size, picture.mode) == ((width, height), "RGB")
    assert list(picture.getdata()) == colours


def test_screenshot_has_the_cursor(control, gpu):
    fill_resource(gpu, 1, 100, 100, bytes((10, 20, 30, 0)) * 10000, 2)
    fill_resource(gpu, 2, 64, 64, bytes((0, 0, 255, 255)) * 4096, FORMAT_B8G8R8A8)
    assert gpu.set_scanout(0, 1, 0, 0, 100, 100) == 0x1100
    gpu.update_cursor(0, 2, x=50, y=60, hot_x=8, hot_y=9)
    picture = control.screenshot(0)
    # The position is the image's corner; the hot spot only matters to a display that moves it.
    for (x, y), colour in {(50, 60): (255, 0, 0), (99, 99): (255, 0, 0), (49, 60): (30, 20, 10),
                           (50, 59): (30, 20, 10)}.items():
        assert picture.getpixel((x, y)) == colour, (x, y)
    gpu.update_cursor(0, 0)
    assert control.screenshot(0).getpixel((60, 60)) == (30, 20, 10)


def test_screenshot_without_a_picture_is_a_sentence(control):
    with pytest.raises(Refused, match="Scanout 0 shows nothing"):
        control.ask("screenshot", output=0)


def test_resize_reaches_the_guest(control, gpu):
    assert gpu.display_info()[2][2:] == (640, 480, 1)
    assert control.ask("resize", output=2, width=1024, height=768) == {}
    assert gpu.display_info()[2][2:] == (1024, 768, 1)
    assert control.ask("resize", output=2, width=640, height=480) == {}


def test_plug_and_unplug_reach_the_guest(control, gpu):
    assert gpu.display_info()[1][4] == 0
    assert control.ask("plug", output=1) == {}
    assert gpu.display_info()[1][2:] == (1280, 800, 1)
    assert control.ask("unplug", output=1) == {}
    assert gpu.display_info()[1][4] == 0


def test_resize_without_a_client_is_for_the_next(device, control):
    assert control.ask("resize", output=0, width=300, height=200) == {}
    with Function(device.socket_path) as function:
        assert Gpu(function.start()).display_info()[0][2:] == (300, 200, 1)
    assert control.ask("resize", output=0, width=800, height=600) == {}


def test_requests_in_one_packet_are_answered_in_turn(control, gpu):
    pixels, _ = pattern(16, 16)
    fill_resource(gpu, 1, 16, 16, pixels, 2)
    assert gpu.set_scanout(0, 1, 0, 0, 16, 16) == 0x1100
    control.send(b'{"command":"screenshot","output":0}\n{"command":"info"}\n'
                 b'{"command":"plug"}\n{"command":"screenshot","output":1}\n')
    assert control.receive() == {"return": {}}
    assert "version" in control.receive()["return"]
    assert "output" in control.receive()["error"]
    assert "shows nothing" in control.receive()["error"]


def test_request_may_come_in_pieces(control):
    for byte in b'{"command": "info"}':
        control.send(bytes([byte]))
    control.send(b"\n")
    assert "return" in control.receive()


def test_client_that_sends_no_more_is_still_answered(control, gpu):
    pixels, _ = pattern(16, 16)
    fill_resource(gpu, 1, 16, 16, pixels, 2)
    assert gpu.set_scanout(0, 1, 0, 0, 16, 16) == 0x1100
    control.send(b'{"command":"info"}\n{"command":"screenshot","output":0}\n')
    control.socket.shutdown(socket.SHUT_WR)
    assert "return" in control.receive()
    assert control.receive() == {"return": {}}
    assert control.receive() is None


def test_socket_is_for_this_user_alone(device):
    assert device.control_path.stat().st_mode & 0o777 == 0o600


# --- what nobody should ask ---

BAD_LINES = {
    "nothing": b"",
    "blanks": b"   ",
    "no JSON": b"info",
    "half JSON": b'{"command": "info"',
    "two values": b'{"command": "info"} {}',
    "binary": bytes(range(128, 200)),
    "a NUL": b'{"command": "in\0fo"}',
    "bad UTF-8": b'{"command": "\xff\xfe"}',
    "a lone surrogate": b'{"command": "\\ud800"}',
    "a number": b"17",
    "null": b"null",
    "a list": b'[{"command": "info"}]',
    "no command": b"{}",
    "another key": b'{"execute": "info"}',
    "command is a number": b'{"command": 1}',
    "command is null": b'{"command": null}',
    "command is a list": b'{"command": ["info"]}',
    "unknown command": b'{"command": "quit"}',
    "empty command": b'{"command": ""}',
    "another case": b'{"command": "INFO"}',
    "long command": b'{"command": "' + b"x" * 60000 + b'"}',
    "info with a key": b'{"command": "info", "output": 0}',
    "unknown key": b'{"command": "plug", "output": 1, "path": "/etc/passwd"}',
    "deep list": b"[" * 60000,
    "deep objects": b'{"a":' * 10000 + b"1" + b"}" * 10000,
    "deep value": b'{"command": "plug", "output": ' + b"[" * 30000 + b"]" * 30000 + b"}",
    "huge number": b'{"command": "plug", "output": 1e999}',
    "many digits": b'{"command": "plug", "output": ' + b"9" * 60000 + b"}",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES.keys())
def test_bad_line_is_answered_with_a_sentence(control, line):
    with pytest.raises(Refused) as refused:
        control.raw(line)
    sentence = str(refused.value)
    assert sentence.endswith((".", "}.")) and len(sentence) < 1000
    assert sentence.isprintable() and sentence.isascii()
    assert "version" in control.ask("info"), "the connection goes on"


BAD_OUTPUTS = [-1, 3, 15, 16, 2**32, 2**64, 0.5, 1.0, "0", None, True, [0], {}]


@pytest.mark.parametrize("command", ["screenshot", "plug", "unplug", "resize"])
@pytest.mark.parametrize("output", BAD_OUTPUTS, ids=repr)
def test_bad_output_is_refused_with_its_value(device, control, command, output):
    sizes = {"width": 640, "height": 480} if command == "resize" else {}
    before = control.ask("info")["outputs"]
    with pytest.raises(Refused, match="output"):
        control.ask(command, output=output, **sizes)
    assert control.ask("info")["outputs"] == before


@pytest.mark.parametrize("command", ["screenshot", "plug", "unplug", "resize"])
def test_missing_output_is_refused(control, command):
    with pytest.raises(Refused, match='"output" is missing: accepted'):
        control.ask(command)


@pytest.mark.parametrize("key", ["width", "height"])
@pytest.mark.parametrize("value", [0, -1, 16385, 2**32 + 640, 640.0, "640", None, False, []],
                         ids=repr)
def test_bad_size_is_refused_with_its_value(control, key, value):
    before = control.ask("info")["outputs"]
    with pytest.raises(Refused, match=f'"{key}" .* accepted is a number from 1 to 16384'):
        control.ask("resize", **{"output": 0, "width": 640, "height": 480, key: value})
    assert control.ask("info")["outputs"] == before


@pytest.mark.parametrize("key", ["width", "height"])
def test_missing_size_is_refused(control, key):
    arguments = {"output": 0, "width": 640, "height": 480}
    del arguments[key]
    with pytest.raises(Refused, match=f'"{key}" is missing'):
        control.ask("resize", **arguments)


def test_longest_line_is_read(control):
    line = b'{"command": "info"}'
    assert "version" in control.raw(line + b" " * (MAX_LINE - len(line)))


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "endless"])
def test_longer_line_ends_the_connection(control, ended):
    control.send(b"x" * (MAX_LINE + 1) + (b"\n" if ended else b""))
    assert "longer than 65536 bytes" in control.receive()["error"]
    assert control.is_closed()


def test_endless_line_takes_no_memory(device, control):
    with pytest.raises((BrokenPipeError, ConnectionResetError, TimeoutError)):
        for _ in range(1000):
            control.send(b"x" * 65536)
    assert device.is_alive()


def test_ninth_client_is_refused(device):
    clients = [Control(device.control_path) for _ in range(MAX_CLIENTS)]
    try:
        for client in clients:
            assert "version" in client.ask("info")
        with Control(device.control_path) as ninth:
            assert "8 control clients" in ninth.receive()["error"]
            assert ninth.receive() is None
        clients.pop().close()

        def is_served():
            with Control(device.control_path) as again:
                again.send(b'{"command":"info"}\n')
                return "return" in again.receive()

        wait_until(is_served, "a free place")
        assert "version" in clients[0].ask("info")
    finally:
        for client in clients:
            client.close()


def test_crowd_that_comes_and_goes_leaves_nothing(device):
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(device.control_path))
            client.sendall(b'{"command":"info"}\n{"comm')


def test_client_that_reads_nothing_stops_nobody(device, gpu):
    """Its requests wait; the device and the other clients do not."""
    pixels, _ = pattern(16, 16)
    fill_resource(gpu, 1, 16, 16, pixels, 2)
    assert gpu.set_scanout(0, 1, 0, 0, 16, 16) == 0x1100
    with Control(device.control_path) as lazy, Control(device.control_path) as other:
        lazy.socket.setblocking(False)
        with pytest.raises(BlockingIOError):  # its requests are no longer taken
            while True:
                lazy.socket.send(b'{"command":"info"}\n' * 1000)
        assert "version" in other.ask("info")
        assert other.screenshot(0).size == (16, 16)
        assert gpu.display_info()[0][4] == 1


@pytest.mark.slow
def test_client_that_never_reads_is_dropped(device):
    """Ten seconds after its first reply that found no room."""
    with Control(device.control_path) as lazy:
        lazy.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                lazy.socket.send(b'{"command":"info"}\n' * 1000)
        wait_until(lambda: "does not take its replies" in device.log(), "the end of it", timeout=30)


def test_client_that_goes_before_its_picture_leaks_none(device, gpu):
    fill_resource(gpu, 1, 1024, 1024, bytes(1 << 22), 2)
    assert gpu.set_scanout(0, 1, 0, 0, 1024, 1024) == 0x1100
    for _ in range(20):
        with Control(device.control_path) as control:
            control.send(b'{"command":"screenshot","output":0}\n')
    with Control(device.control_path) as control:
        assert control.screenshot(0).size == (1024, 1024)


def test_files_that_a_client_sends_are_not_kept(device, control):
    with open("/dev/null", "rb") as file:
        for _ in range(50):
            socket.send_fds(control.socket, [b" "], [file.fileno()] * 10)
    control.send(b"\n")
    assert "error" in control.receive()
    assert device.files()["/dev/null"] == device.census_at_start["files"]["/dev/null"]


# --- the program ---

def swede_control(device, *arguments):
    return subprocess.run([build_folder() / "src" / "swede" / "swede", "control",
                           str(device.control_path), *arguments], capture_output=True, timeout=30,
                          check=False)


def test_program_prints_info(device):
    answer = swede_control(device, "info")
    assert (answer.returncode, answer.stderr) == (0, b"")
    assert json.loads(answer.stdout)["process"] == device.process.pid


def test_program_writes_the_picture_itself(device, gpu, tmp_path):
    pixels, colours = pattern(33, 17)
    fill_resource(gpu, 1, 33, 17, pixels, 2)
    assert gpu.set_scanout(2, 1, 0, 0, 33, 17) == 0x1100
    from PIL import Image  # pylint: disable=import-outside-toplevel
    path = tmp_path / "shot.png"
    answer = swede_control(device, "screenshot", str(path), "--output", "2")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"", b"")
    assert list(Image.open(path).getdata()) == colours
    assert swede_control(device, "screenshot", "-", "--output", "2").stdout == path.read_bytes()


def test_program_leaves_the_file_alone_when_there_is_no_picture(device, tmp_path):
    path = tmp_path / "shot.png"
    path.write_text("precious")
    answer = swede_control(device, "screenshot", str(path))
    assert answer.returncode == 1
    assert b"Scanout 0 shows nothing" in answer.stderr
    assert path.read_text() == "precious"


def test_program_says_why_it_cannot_write(device, gpu, tmp_path):
    pixels, _ = pattern(8, 8)
    fill_resource(gpu, 1, 8, 8, pixels, 2)
    assert gpu.set_scanout(0, 1, 0, 0, 8, 8) == 0x1100
    answer = swede_control(device, "screenshot", str(tmp_path / "no" / "shot.png"))
    assert answer.returncode == 1
    assert b"no/shot.png" in answer.stderr
    answer = swede_control(device, "screenshot", "/dev/full")
    assert answer.returncode == 1
    assert b"/dev/full" in answer.stderr


def test_program_changes_outputs(device, control):
    assert swede_control(device, "resize", "1", "320x200").returncode == 0
    assert swede_control(device, "plug", "1").returncode == 0
    assert control.ask("info")["outputs"][1] == {"width": 320, "height": 200, "connected": True}
    assert swede_control(device, "unplug", "1").returncode == 0
    assert swede_control(device, "resize", "1", "1280x800").returncode == 0
    answer = swede_control(device, "plug", "3")
    assert answer.returncode == 1
    assert b"no output 3; the device has 0 to 2" in answer.stderr


class Impostor:
    """Listens like a device and answers what the test says."""

    def __init__(self, folder, answer, files=()):
        self.control_path = folder / "impostor.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self.control_path))
        self._socket.listen()
        self._answer, self._files = answer, files

    def serve(self, *arguments):
        program = subprocess.Popen([build_folder() / "src" / "swede" / "swede", "control",
                                    str(self.control_path), *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            try:
                socket.send_fds(connection, [self._answer], self._files)
            except BrokenPipeError:
                pass
        with self._socket:
            out, error = program.communicate(timeout=30)
        return program.returncode, out, error


@pytest.mark.parametrize("answer", [b"\n", b"{}\n", b"17\n", b"[]\n", b"\xff\n", b'{"error": 1}\n',
                                    b'{"return"\n', b"{", b"x" * 100000, b"[" * 60000 + b"\n"],
                         ids=lambda answer: repr(answer[:12]))
def test_program_survives_a_bad_device(tmp_path, answer):
    status, out, error = Impostor(tmp_path, answer).serve("info")
    assert (status, out) == (1, b"")
    assert error.startswith(b"swede control: ")


def test_program_wants_a_picture_with_a_screenshot(tmp_path):
    path = tmp_path / "shot.png"
    status, _, error = Impostor(tmp_path, b'{"return": {}}\n').serve("screenshot", str(path))
    assert status == 1
    assert b"without a picture" in error
    assert not path.exists()


def test_program_keeps_one_file_of_many(tmp_path):
    with open(os.devnull, "rb") as null:
        status, _, _ = Impostor(tmp_path, b'{"return": {"x": 1}}\n',
                                [null.fileno()] * 20).serve("info")
    assert status == 0
