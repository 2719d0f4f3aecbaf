# SPDX-License-Identifier: Apache-2.0
"""The command line: an error names the option, the value and what is accepted, and ends with 2."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from conftest import DeviceProcess, build_folder, wait_until

SWEDE = build_folder() / "src" / "swede" / "swede"
VHOST_USER_GPU = build_folder() / "src" / "swede" / "swede-vhost-user-gpu"
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def run(*arguments, program=SWEDE, **options):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30,
                          check=False, stdin=subprocess.DEVNULL, **options)


def sockets_in(folder):
    return [path for path in folder.iterdir() if path.is_socket()]


# --- what is wrong with a command line: arguments, and what the error says ---

BAD_DEVICE_OPTIONS = [
    (["--hostmem", "8GB"], ["--hostmem", '"8GB"', "a size such as 512M or 8G"]),
    (["--hostmem", "512K"], ["--hostmem", '"512K"', "1M to 1T"]),
    (["--hostmem", "2T"], ["--hostmem", '"2T"', "1M to 1T"]),
    (["--hostmem", "-1"], ["--hostmem", '"-1"']),
    (["--hostmem", "6G"], ["--hostmem", '"6G"', "power of two", "4G or 8G"]),
    (["--hostmem", "99999999999999999999G"], ["--hostmem", "99999999999999999999G"]),
    (["--transport", "virtio"], ["--transport", '"virtio"', "vfio-user, vhost-user, vhost-user-gpu and local"]),
    (["--transport", ""], ["--transport", '""', "vfio-user, vhost-user, vhost-user-gpu and local"]),
    (["--display", "gtk"], ["--display", '"gtk"', "none, and png:"]),
    (["--display", "png:"], ["--display", '"png:"', "none, and png:"]),
    (["--outputs", "1280"], ["--outputs", '"1280"', "WIDTHxHEIGHT, each 1 to 16384, nor off"]),
    (["--outputs", "1280x800,"], ["--outputs", '"1280x800,"', '""']),
    (["--outputs", "0x0"], ["--outputs", '"0x0"', "1 to 16384"]),
    (["--outputs", "20000x100"], ["--outputs", '"20000x100"', "1 to 16384"]),
    (["--outputs", ",".join(["off"] * 17)], ["--outputs", "1 to 16 outputs", "17"]),
    (["--max-resources", "0"], ["--max-resources", '"0"', "above 0"]),
    (["--max-resources", "1K"], ["--max-resources", '"1K"', "whole number"]),
    (["--max-host-memory", "much"], ["--max-host-memory", '"much"', "a size above 0"]),
    (["--control-path", ""], ["--control-path", '""', "1 to 107 bytes"]),
    (["--gpu", ""], ["--gpu", '""', "swede devices", "none"]),
    (["--gpu", "pci:"], ["--gpu", '"pci:"', "with an address"]),
    (["--gpu", "no such GPU"], ["--gpu", '"no such GPU"', "swede devices"]),
    (["--gpu", "0", "--transport", "vhost-user-gpu"], ["--gpu", '"0"', "none"]),
    (["--max-rings", "0"], ["--max-rings", '"0"', "above 0"]),
    (["--wayland-socket-path", ""], ["--wayland-socket-path", '""', "1 to 107 bytes"]),
    (["--cross-domain", "--transport", "vhost-user-gpu"], ["--cross-domain", "vhost-user-gpu", "vfio-user, vhost-user and local"]),
    (["--transport", "local", "--hostmem", "1G"], ["--hostmem", '"1G"', "local has neither a window nor outputs"]),
    (["--transport", "local", "--display", "none"], ["--display", '"none"', "local"]),
    (["--transport", "local", "--outputs", "off"], ["--outputs", '"off"', "local"]),
    (["--fd", "3"], ["--fd", "--socket-path", "exclude one another"]),
    (["--socket-path", "again.sock"], ["--socket-path"]),
    (["--hostmem"], ["--hostmem"]),
    (["--hostmen", "8G"], ['"--hostmen"', "--hostmem"]),
    (["-x"], ['"-x"', "--socket-path"]),
    (["word"], ['"word"']),
]


@pytest.mark.parametrize("arguments, says", BAD_DEVICE_OPTIONS,
                         ids=[" ".join(bad)[:40] for bad, _ in BAD_DEVICE_OPTIONS])
def test_bad_device_option(tmp_path, arguments, says):
    answer = run("device", "--socket-path", str(tmp_path / "gpu.sock"), *arguments)
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("swede device: ")
    for words in says:
        assert words in answer.stderr, answer.stderr
    assert not list(tmp_path.iterdir()), "something was made before the options were checked"


BAD_VERBS = [
    ([], ["device, run, control, devices, doctor"]),
    (["devise"], ['"devise"', "device, run, control, devices, doctor"]),
    (["--socket-path", "x"], ["device, run, control, devices, doctor"]),
    (["device"], ["--socket-path", "--fd"]),
    (["doctor", "now"], ['"now"']),
    (["devices", "now"], ['"now"']),
    (["renderer"], ["started by"]),
    (["renderer", "--gpu"], ["--gpu"]),
    (["renderer", "--max-rings", "0"], ["--max-rings"]),
    (["doctor", "device"], ['"device"']),
    (["control"], ["SOCKET"]),
    (["control", "x.sock"], ["info, screenshot, resize, plug, unplug"]),
    (["control", "x.sock", "dance"], ['"dance"', "info, screenshot, resize, plug, unplug"]),
    (["control", "x.sock", "info", "more"], ['"more"']),
    (["control", "x.sock", "screenshot"], ["FILE"]),
    (["control", "x.sock", "screenshot", "f.png", "--output", "16"], ['"16"', "0 to 15"]),
    (["control", "x.sock", "resize", "1"], ["SIZE"]),
    (["control", "x.sock", "resize", "1", "640"], ['"640"', "WIDTHxHEIGHT"]),
    (["control", "x.sock", "resize", "1", "640x"], ['"640x"', "WIDTHxHEIGHT"]),
    (["control", "x.sock", "resize", "1", "0x480"], ['"0x480"', "1 to 16384"]),
    (["control", "x.sock", "resize", "one", "640x480"], ['"one"', "0 to 15"]),
    (["control", "x.sock", "plug"], ["N is required"]),
    (["control", "x.sock", "plug", "16"], ['"16"', "0 to 15"]),
    (["control", "x.sock", "unplug", "-1"], ["-1"]),
]


@pytest.mark.parametrize("arguments, says", BAD_VERBS,
                         ids=[" ".join(bad) or "nothing" for bad, _ in BAD_VERBS])
def test_bad_verb(tmp_path, arguments, says):
    answer = run(*arguments, cwd=tmp_path)
    assert answer.returncode == 2, answer
    assert answer.stdout == ""
    assert answer.stderr.startswith("swede")
    for words in says:
        assert words in answer.stderr, answer.stderr
    assert not list(tmp_path.iterdir())


def test_control_without_a_device_fails(tmp_path):
    answer = run("control", "none.sock", "info", cwd=tmp_path)
    assert answer.returncode == 1
    assert '"none.sock"' in answer.stderr


@pytest.mark.parametrize("option", ["--socket-path", "--control-path"])
def test_path_of_a_file_is_left_alone(tmp_path, option):
    precious = tmp_path / "precious"
    precious.write_text("x")
    paths = {"--socket-path": tmp_path / "gpu.sock", "--control-path": tmp_path / "control.sock",
             option: precious}
    answer = run("device", *[word for pair in paths.items() for word in map(str, pair)])
    assert answer.returncode == 1
    assert str(precious) in answer.stderr
    assert precious.read_text() == "x"
    assert not sockets_in(tmp_path), "a socket's file is left"


def test_second_device_on_a_path_is_refused(tmp_path):
    first = DeviceProcess(tmp_path, "vfio-user")
    try:
        answer = run("device", "--socket-path", str(first.socket_path))
        assert answer.returncode == 1
        assert str(first.socket_path) in answer.stderr
        assert first.socket_path.exists(), "the first one's socket is taken away"
    finally:
        assert first.stop() == 0


def test_stale_socket_is_replaced(tmp_path):
    first = DeviceProcess(tmp_path, "vfio-user")
    first.process.kill()
    first.process.wait()
    assert first.socket_path.exists()
    second = DeviceProcess(tmp_path, "vfio-user")
    assert second.stop() == 0
    assert not second.socket_path.exists()


def test_display_directory_that_cannot_be_is_an_error(tmp_path):
    (tmp_path / "file").write_text("x")
    answer = run("device", "--socket-path", str(tmp_path / "gpu.sock"), "--display",
                 f"png:{tmp_path / 'file'}")
    assert answer.returncode == 1
    assert str(tmp_path / "file") in answer.stderr
    assert not sockets_in(tmp_path)


# --- help and version ---

def test_version():
    answer = run("--version")
    assert answer.returncode == 0
    assert re.fullmatch(r"swede \d+\.\d+\.\d+\n", answer.stdout)


@pytest.mark.parametrize("verb", [[], ["device"], ["control"], ["control", "x", "resize"],
                                  ["doctor"]], ids=" ".join)
def test_help(verb):
    answer = run(*verb, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "Usage:" in answer.stdout


def options_of(verb):
    return set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", run(verb, "--help").stdout, re.M))


@pytest.mark.parametrize("verb", ["device", "run"])
def test_manual_page_has_each_option(verb):
    page = (REPOSITORY / "docs" / "man" / "swede.1").read_text().replace("\\-", "-")
    assert len(options_of(verb)) > 10
    for option in options_of(verb) - {"--help"}:
        assert option in page, option


@pytest.mark.parametrize("verb", ["device", "run"])
def test_completion_offers_each_option(verb):
    script = REPOSITORY / "packaging" / "swede.bash"
    answer = subprocess.run(
        ["bash", "-c", f"source {script}; COMP_WORDS=(swede {verb} --); COMP_CWORD=2; _swede; "
         "printf '%s\\n' \"${COMPREPLY[@]}\""], capture_output=True, text=True, check=True)
    assert set(answer.stdout.split()) - {"--"} == options_of(verb)


# --- sockets that are handed over ---

def start_with(sockets, *arguments, environment=None, program=SWEDE):
    """Starts a device that inherits these sockets under their numbers."""
    return subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                            pass_fds=[s.fileno() for s in sockets],
                            env=dict(os.environ, **(environment or {})))


def end(process, status=0):
    process.send_signal(signal.SIGTERM)
    _, messages = process.communicate(timeout=20)
    assert process.returncode == status, messages
    return messages


def listening_socket(folder):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "passed.sock"))
    listener.listen()
    return listener


def is_served(path):
    """True once the device answers a vfio-user version message there."""
    from vfio_user_client import Client  # pylint: disable=import-outside-toplevel
    with Client(path):
        return True


def test_listening_fd_is_served_by_vfio_user(tmp_path):
    with listening_socket(tmp_path) as listener:
        process = start_with([listener], "device", "--fd", str(listener.fileno()))
        assert is_served(tmp_path / "passed.sock")
        end(process)
    assert (tmp_path / "passed.sock").exists(), "it is not ours to remove"


def test_connected_fd_ends_with_its_vmm():
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = start_with([theirs], "device", "--fd", str(theirs.fileno()), "--transport",
                                 "vhost-user")
        # GET_FEATURES
        ours.sendall(bytes.fromhex("01000000 01000000 00000000"))
        assert len(ours.recv(20)) == 20
    _, messages = process.communicate(timeout=20)
    assert process.returncode == 0, messages


@pytest.mark.parametrize("transport, why", [("vfio-user", "takes a listening socket"),
                                            ("vhost-user", "takes a connected socket"),
                                            ("vhost-user-gpu", "takes a connected socket")])
def test_fd_of_the_wrong_kind_is_refused(tmp_path, transport, why):
    pair = socket.socketpair()
    with listening_socket(tmp_path) as listener, pair[0], pair[1]:
        wrong = pair[0] if transport == "vfio-user" else listener
        process = start_with([wrong], "device", "--fd", str(wrong.fileno()), "--transport",
                             transport)
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"--fd {wrong.fileno()}" in messages or "--fd" in messages
    assert why in messages


def test_fd_that_is_no_socket_is_refused():
    with open("/dev/null", "rb") as null:
        process = start_with([null], "device", "--fd", str(null.fileno()))
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "no Unix stream socket" in messages


def test_fd_that_is_not_open_is_refused():
    answer = run("device", "--fd", "777")
    assert answer.returncode == 2
    assert "--fd 777" in answer.stderr and "no file is open" in answer.stderr


ACTIVATE = """
import os, socket, sys
listener = int(sys.argv[1])
os.dup2(listener, 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(listener, count, *arguments):
    """Starts the device as a service manager does."""
    return subprocess.Popen(["python3", "-c", ACTIVATE, str(listener.fileno()), count, str(SWEDE),
                             *arguments], stderr=subprocess.PIPE, text=True,
                            stdin=subprocess.DEVNULL, pass_fds=[listener.fileno()])


def test_service_managers_socket_is_served(tmp_path):
    with listening_socket(tmp_path) as listener:
        process = activated(listener, "1", "device")
        assert is_served(tmp_path / "passed.sock")
        end(process)


@pytest.mark.parametrize("count", ["0", "2", "", "one"])
def test_service_managers_other_counts_are_refused(tmp_path, count):
    with listening_socket(tmp_path) as listener:
        process = activated(listener, count, "device")
        _, messages = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "LISTEN_FDS" in messages


def test_anothers_service_socket_is_not_taken(tmp_path):
    answer = run("device", env=dict(os.environ, LISTEN_PID="1", LISTEN_FDS="1"))
    assert answer.returncode == 2
    assert "--socket-path" in answer.stderr


def test_service_manager_hears_of_the_start(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify.sock"))
        manager.settimeout(20)
        device = DeviceProcess(tmp_path, "vfio-user",
                               environment={"NOTIFY_SOCKET": str(tmp_path / "notify.sock")})
        try:
            assert manager.recv(100) == b"READY=1"
        finally:
            assert device.stop() == 0


def test_missing_service_manager_is_no_failure(tmp_path):
    device = DeviceProcess(tmp_path, "vfio-user",
                           environment={"NOTIFY_SOCKET": str(tmp_path / "nobody.sock")})
    device.wait_for_log("NOTIFY_SOCKET")
    assert device.stop() == 0


# --- its life ---

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_signal_ends_it_with_its_files(tmp_path, number):
    device = DeviceProcess(tmp_path, "vfio-user", ["--control-path", str(tmp_path / "c.sock")])
    wait_until((tmp_path / "c.sock").exists, "the control socket")
    device.process.send_signal(number)
    assert device.process.wait(20) == 0
    assert not sockets_in(tmp_path)


def test_log_tells_where_it_listens(tmp_path):
    device = DeviceProcess(tmp_path, "vhost-user-gpu")
    device.wait_for_log(rf"info device: Listening at {re.escape(str(device.socket_path))} "
                        r"\(vhost-user-gpu\)")
    assert device.stop() == 0


def test_log_level_is_set_by_the_environment(tmp_path):
    device = DeviceProcess(tmp_path, "vfio-user", environment={"SWEDE_LOG": "off"})
    assert device.stop() == 0
    assert device.log() == ""


# --- the program of QEMU's descriptor ---

def test_capabilities_are_what_qemu_reads():
    """VHostUserBackendCapabilities of QEMU's docs/interop/vhost-user.json."""
    answer = run("--print-capabilities", program=VHOST_USER_GPU)
    assert (answer.returncode, answer.stderr) == (0, "")
    capabilities = json.loads(answer.stdout)
    assert capabilities["type"] == "gpu"
    assert set(capabilities["features"]) <= {"render-node", "virgl"}


def test_descriptor_is_what_qemu_reads():
    """VhostUserBackend of the same file: description, type and binary, and at most tags."""
    descriptor = json.loads((build_folder() / "packaging" / "40-swede-gpu.json").read_text())
    assert set(descriptor) - {"tags"} == {"description", "type", "binary"}
    assert descriptor["type"] == "gpu"
    assert pathlib.Path(descriptor["binary"]).is_absolute()
    assert pathlib.Path(descriptor["binary"]).name == VHOST_USER_GPU.name


@pytest.mark.parametrize("spelling", [["--fd", "{}"], ["--fd={}"], ["-f", "{}"]], ids=str)
def test_descriptors_program_takes_a_connected_fd(spelling):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = start_with([theirs], *[word.format(theirs.fileno()) for word in spelling],
                                 program=VHOST_USER_GPU)
        ours.sendall(bytes.fromhex("01000000 01000000 00000000"))
        assert len(ours.recv(20)) == 20
    _, messages = process.communicate(timeout=20)
    assert process.returncode == 0, messages


def test_descriptors_program_warns_of_what_it_has_not(tmp_path):
    process = start_with([], f"--socket-path={tmp_path / 'gpu.sock'}", "--virgl",
                         "--render-node=/dev/dri/renderD128", program=VHOST_USER_GPU)
    wait_until((tmp_path / "gpu.sock").exists, "the socket")
    messages = end(process)
    assert "no GL renderer yet" in messages
    assert "/dev/dri/renderD128" in messages
    assert not sockets_in(tmp_path)


@pytest.mark.parametrize("arguments, says", [
    ([], ["--socket-path", "--fd"]),
    (["--fd", "x"], ["--fd", '"x"']),
    (["--socket-path", "a", "--fd", "3"], ["exclude one another"]),
    (["--fd", "777"], ["--fd 777"]),
    (["--transport", "vhost-user"], ['"--transport"']),
], ids=str)
def test_descriptors_program_refuses(tmp_path, arguments, says):
    answer = run(*arguments, program=VHOST_USER_GPU, cwd=tmp_path)
    assert answer.returncode == 2
    for words in says:
        assert words in answer.stderr, answer.stderr


# --- doctor, with QEMUs of the test's own ---

FAKE_QEMU = """#!/bin/sh
[ "$*" = "-device help" ] || exec sleep 1000
{body}
"""


def doctor(folder, body, **environment):
    """Runs doctor where the only QEMU is this shell script."""
    programs = folder / "bin"
    programs.mkdir()
    if body is not None:
        qemu = programs / "qemu-system-x86_64"
        qemu.write_text(FAKE_QEMU.format(body=body))
        qemu.chmod(0o755)
    return run("doctor", env={"PATH": f"{programs}:/usr/bin:/bin" if body else str(programs),
                              "HOME": str(folder), "XDG_CACHE_HOME": str(folder), **environment})


def verdicts(answer, subject):
    return [line.split()[0] for line in answer.stdout.splitlines() if line[8:].startswith(subject)]


def test_doctor_without_qemu_says_what_to_install(tmp_path):
    answer = doctor(tmp_path, None)
    assert answer.returncode == 1
    assert verdicts(answer, "QEMU") == ["missing"]
    assert "install QEMU" in answer.stdout and "scripts/setup" in answer.stdout
    assert answer.stdout.rstrip().endswith("missing.")


def test_doctor_names_the_best_door(tmp_path):
    answer = doctor(tmp_path, "echo 'name \"vhost-user-gpu-pci\", bus PCI'; "
                    "echo 'name \"vfio-user-pci\", bus PCI'", XDG_RUNTIME_DIR="/run/user/7")
    assert answer.returncode == 0, answer
    assert verdicts(answer, "QEMU") == ["ok", "ok"]
    assert "--socket-path /run/user/7/swede-gpu.sock --transport vfio-user" in answer.stdout
    assert "share=on" in answer.stdout
    assert '"driver":"vfio-user-pci"' in answer.stdout


def test_doctor_takes_the_2d_door_when_there_is_no_other(tmp_path):
    answer = doctor(tmp_path, "echo 'name \"vhost-user-gpu-pci\", bus PCI'")
    assert answer.returncode == 0
    assert "--transport vhost-user-gpu" in answer.stdout


@pytest.mark.parametrize("body", ["exit 1", "echo 'name \"virtio-gpu-pci\", bus PCI'", "true",
                                  "kill -SEGV $$", "yes", "cat /dev/zero"])
def test_doctor_finds_no_door_in_a_qemu_without(tmp_path, body):
    answer = doctor(tmp_path, body)
    assert answer.returncode == 1
    assert verdicts(answer, "QEMU") == ["missing"]


def test_doctor_looks_at_everything(tmp_path):
    answer = doctor(tmp_path, "true")
    for subject in ("QEMU", "KVM", "memory", "udmabuf", "Vulkan", "descriptor"):
        assert verdicts(answer, subject), subject


@pytest.mark.parametrize("descriptor, verdict", [
    ('{"binary": "/bin/true"}', "ok"), ('{"binary": "/nonexistent"}', "warn"), ("[]", "warn"),
    ("{", "warn"), ("", "warn"), ('{"binary": 1}', "warn")])
def test_doctor_reads_the_descriptor(tmp_path, descriptor, verdict):
    folder = tmp_path / "config" / "qemu" / "vhost-user"
    folder.mkdir(parents=True)
    (folder / "40-swede-gpu.json").write_text(descriptor)
    answer = doctor(tmp_path, "true", XDG_CONFIG_HOME=str(tmp_path / "config"))
    assert answer.returncode == 1
    assert verdicts(answer, "descriptor") == [verdict]
