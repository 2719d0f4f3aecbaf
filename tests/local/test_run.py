# SPDX-License-Identifier: Apache-2.0
"""`swede run`: how it starts a program, what it refuses, and how it ends."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from conftest import PATIENCE, SHIM, SWEDE, run

NONE = ("--driver", "none")
HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    # Not pytest's folder: a socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        yield
        assert not list(pathlib.Path(folder).glob("swede-run.*"))


@pytest.mark.parametrize("status", [0, 1, 7, 127, 255])
def test_exit_status_is_the_programs(status):
    assert run("sh", "-c", f"exit {status}").returncode == status


def test_exit_status_where_nobody_wants_to_hear_of_children():
    command = ["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", SWEDE, "run", *NONE, "--", "sh", "-c",
               "exit 3"]
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_death_by_a_signal_is_told_as_shells_do(number):
    assert run("sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_one_line_says_what_the_gpu_is():
    answer = run("true")
    assert answer.stderr == "swede run: the GPU is the test renderer\n"
    assert answer.stdout == ""


def test_output_and_arguments_are_the_programs():
    answer = run("sh", "-c", 'echo "$0" "$@"', "a b", "--driver", "--", "-x")
    assert answer.stdout == "a b --driver -- -x\n"
    answer = subprocess.run([SWEDE, "run", *NONE, "echo", "plain"], capture_output=True, text=True,
                            timeout=PATIENCE, check=False)
    assert answer.stdout == "plain\n"


def test_environment_of_the_program(tmp_path):
    driver = tmp_path / "driver.json"
    driver.write_text("{}")
    answer = run("env", options=["--driver", str(driver)],
                 env=dict(os.environ, LD_PRELOAD=str(SHIM)))
    variables = dict(line.split("=", 1) for line in answer.stdout.splitlines() if "=" in line)
    assert variables["VK_DRIVER_FILES"] == variables["VK_ICD_FILENAMES"] == str(driver)
    assert variables["LD_PRELOAD"] == f"{SHIM}:{SHIM}"
    assert variables["SWEDE_SOCKET"].endswith("/gpu")
    assert "VK_DRIVER_FILES" not in run("env").stdout


def test_program_has_the_limits_and_signals_it_would_have():
    command = ["sh", "-c", "ulimit -n; grep -E 'Sig(Blk|Ign)' /proc/self/status"]
    before = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # posix_spawn() of glibc ignores its own two signals, 32 and 33, until the program needs them.
    before, after = (re.sub("(?<=SigIgn:\t)[0-9a-f]+",
                            lambda mask: hex(int(mask[0], 16) & ~(3 << 31)), text)
                     for text in (before, run(*command).stdout))
    assert after == before


def test_program_inherits_no_file_of_the_device():
    answer = run("ls", "-l", "/proc/self/fd")
    assert "socket:" not in answer.stdout and "anon_inode" not in answer.stdout, answer


def mind_signals():
    """Of a run in the background some are ignored, and a shell cannot trap what it ignores."""
    for number in HANDED_ON:
        signal.signal(number, signal.SIG_DFL)


def start(*command):
    process = subprocess.Popen([SWEDE, "run", *NONE, "--", *command], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, preexec_fn=mind_signals)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", HANDED_ON)
def test_signal_is_handed_on(number):
    script = f"trap 'exit 5' {int(number)}; echo ready; while :; do sleep 0.05; done"
    process = start("sh", "-c", script)
    process.send_signal(number)
    assert process.wait(PATIENCE) == 5


def test_program_that_does_not_mind_a_signal_goes_on():
    process = start("sh", "-c", "trap '' TERM; echo ready; sleep 0.5; exit 6")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 6


# --- what is refused ---

def refused(answer, status, *words):
    assert answer.returncode == status, answer
    assert answer.stderr.startswith("swede run: ") and answer.stdout == "", answer
    for word in words:
        assert word in answer.stderr, answer


def executable(path, data, mode=0o755):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_program_that_is_not_there(tmp_path):
    refused(run("swede-no-such-program"), 127, '"swede-no-such-program" in PATH')
    refused(run(tmp_path / "none"), 127, "No such file")
    refused(run("x", env=dict(os.environ, PATH="")), 127, '"x" in PATH')


def test_file_that_is_no_program(tmp_path):
    refused(run(tmp_path), 126, "no file that can be executed")
    refused(run(executable(tmp_path / "plain", b"text", 0o644)), 126, "no file that can be")
    refused(run(executable(tmp_path / "text", b"text")), 126, "neither an ELF program nor a script")
    refused(run(executable(tmp_path / "empty", b"")), 126, "neither an ELF program nor a script")


def test_static_program(tmp_path):
    source = tmp_path / "static.c"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["cc", "-static", "-o", tmp_path / "static", source], check=True)
    refused(run(tmp_path / "static"), 126, "linked statically")
    script = executable(tmp_path / "script", f"#!{tmp_path}/static\n".encode())
    refused(run(script), 126, "linked statically")
    script = executable(tmp_path / "outer", f"#! {script} -x\n".encode())
    refused(run(script), 126, "linked statically")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_program_with_rights_of_its_file(tmp_path, mode):
    program = executable(tmp_path / "rights", pathlib.Path("/bin/true").read_bytes())
    assert run(program).returncode == 0
    program.chmod(mode)
    refused(run(program), 126, "setuid or setgid")


@pytest.mark.parametrize("offset, value, says", [
    (4, 1, "no program for x86-64"),      # EI_CLASS: 32 bits
    (18, 183, "no program for x86-64"),   # e_machine: aarch64
    (54, 1, "program headers"),           # e_phentsize
    (57, 255, "program headers"),         # e_phnum
    (39, 127, "cut short"),               # e_phoff
])
def test_elf_file_that_is_strange(tmp_path, offset, value, says):
    data = bytearray(pathlib.Path("/bin/true").read_bytes())
    data[offset] = value
    refused(run(executable(tmp_path / "strange", data)), 126, says)


@pytest.mark.parametrize("size", [4, 16, 40, 63, 64, 100, 400])
def test_elf_file_that_is_cut(tmp_path, size):
    data = pathlib.Path("/bin/true").read_bytes()[:size]
    refused(run(executable(tmp_path / "cut", data)), 126)


def test_program_of_another_loader(tmp_path):
    data = pathlib.Path("/bin/true").read_bytes()
    assert data.count(b"/lib64/ld-linux-x86-64.so.2") == 1
    data = data.replace(b"/lib64/ld-linux-x86-64.so.2", b"/lib/ld-musl-x86_64.so.1\0\0\0")
    refused(run(executable(tmp_path / "musl", data)), 126, "/lib/ld-musl-x86_64.so.1")


def test_script_without_end(tmp_path):
    path = tmp_path / "itself"
    refused(run(executable(path, f"#!{path}\n".encode())), 126, "script of a script")
    refused(run(executable(tmp_path / "none", b"#!\n")), 126, "names no interpreter")
    refused(run(executable(tmp_path / "gone", b"#!/nowhere/sh\n")), 126, "/nowhere/sh")


def test_driver_that_is_not_installed(tmp_path):
    environment = dict(os.environ, XDG_DATA_DIRS=str(tmp_path))
    answer = run("true", options=(), env=environment)
    if not list(pathlib.Path("/etc/vulkan/icd.d").glob("gfxstream*")):
        refused(answer, 126, "mesa-vulkan-drivers", "--driver")
    assert run("true", options=("--gpu", "none"), env=environment).returncode == 0, "none is needed"
    folder = tmp_path / "vulkan" / "icd.d"
    folder.mkdir(parents=True)
    (folder / "lvp_icd.json").write_text("{}")
    (folder / "gfxstream_vk_icd.aarch64.json").write_text("{}")
    fitting = folder / "gfxstream_vk_icd.x86_64.json"
    fitting.write_text("{}")
    answer = run("printenv", "VK_DRIVER_FILES", options=(), env=environment)
    assert answer.stdout == f"{fitting}\n", answer


@pytest.mark.parametrize("options, says", [
    (["--driver", "/nowhere.json"], ["--driver", "/nowhere.json", "none"]),
    (["--driver", "none", "--shim", "/nowhere.so"], ["--shim", "/nowhere.so"]),
    (["--driver", "none", "--shim", "/a b.so"], ["blank"]),
    (["--driver", "none", "--socket", ""], ["--socket", "1 to 107"]),
    (["--driver", "none", "--max-clients", "0"], ["--max-clients", "1 to 4096"]),
    (["--driver", "none", "--max-clients", "many"], ["--max-clients", '"many"']),
    (["--driver", "none", "--max-resources", "0"], ["--max-resources", "above 0"]),
    (["--driver", "none", "--wayland-socket-path", ""], ["--wayland-socket-path", "1 to 107"]),
    (["--driver", "none", "--wayland-socket-path", "x" * 108], ["--wayland-socket-path", "108"]),
    (["--driver", "none", "--socket", "/gpu", "--cross-domain"], ["--cross-domain", "--socket"]),
    (["--driver", "none", "--socket", "/gpu", "--wayland-socket-path", "/x"], ["--cross-domain", "--socket"]),
    (["--driver"], ["no option"]),
    (["--drivers", "none"], ['"--drivers" is no option']),
])
def test_bad_option(options, says):
    if options == ["--driver"]:
        answer = subprocess.run([SWEDE, "run", "--driver"], capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        assert answer.returncode == 2 and "--driver" in answer.stderr
        return
    refused(run("true", options=options), 2, *says)


def test_no_program():
    for arguments in ([], ["--"], ["--driver", "none"], ["--driver", "none", "--"]):
        answer = subprocess.run([SWEDE, "run", *arguments], capture_output=True, text=True,
                                timeout=PATIENCE, check=False)
        refused(answer, 2, "No program is given")


# --- with a device that runs ---

@pytest.fixture(name="device")
def running_device(tmp_path):
    path = tmp_path / "gpu.sock"
    process = subprocess.Popen([SWEDE, "device", "--transport", "local", "--socket-path", path],
                               stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "Listening at" in line:
            break
    yield path
    process.terminate()
    process.stderr.read()
    assert process.wait(PATIENCE) == 0


def test_device_that_runs_serves_many_programs(programs, device):
    options = (*NONE, "--socket", str(device))
    running = [subprocess.Popen([SWEDE, "run", *options, "--", programs / "shim_client", case],
                                stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL)
               for case in ("buffers", "threads", "fences", "prime", "lost") for _ in range(2)]
    for process in running:
        assert process.communicate(timeout=PATIENCE)[0] == "ok\n"
        assert process.returncode == 0
    answer = run("true", options=options)
    assert answer.stderr == f"swede run: the GPU is the device at {device}\n"
    # A path is looked up from where swede runs, and not from where the program goes.
    answer = run("sh", "-c", f"cd / && {programs}/shim_client opens",
                 options=(*NONE, "--socket", device.name), cwd=device.parent)
    assert answer.stdout == "ok\n", answer


def test_device_that_does_not_run(tmp_path):
    options = (*NONE, "--socket", str(tmp_path / "none"))
    refused(run("true", options=options), 1, "Cannot connect")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "stale"))
    listener.close()
    refused(run("true", options=(*NONE, "--socket", str(tmp_path / "stale"))), 1, "Cannot connect")


def test_device_that_ends_under_its_program(programs, tmp_path):
    """A program that waits for the device goes on within a second, and does not hang."""
    path = tmp_path / "gpu.sock"
    device = subprocess.Popen([SWEDE, "device", "--transport", "local", "--socket-path", path],
                              stderr=subprocess.PIPE, text=True)
    for line in device.stderr:
        if "Listening at" in line:
            break
    waiting = subprocess.Popen([SWEDE, "run", *NONE, "--socket", path, "--",
                                programs / "shim_client", "hang"],
                               stdout=subprocess.PIPE, text=True)
    assert waiting.stdout.readline() == "waiting\n"
    time.sleep(0.2)
    device.kill()
    device.wait()
    device.stderr.close()
    assert waiting.communicate(timeout=PATIENCE)[0] == "ok\n"
    assert waiting.returncode == 0
