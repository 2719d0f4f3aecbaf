# SPDX-License-Identifier: Apache-2.0
"""Starts QEMU guests on our device, for the guest tests and for scripts/demo.

    with Guest(Door.VFIO_USER, socket_path, folder, agent=True) as guest:
        guest.wait_for(r"@@ agent")
        status, output = guest.run("modetest -M virtio_gpu -c")

Everything a guest leaves behind (serial log, QEMU's messages, sockets) lies in `folder`.
"""

import base64
import enum
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts" / "lib"))
# pylint: disable=wrong-import-position
import parts
from initramfs import overlay
from kvm import kvm_is_usable

POLL_SECONDS = 0.02


class LabError(Exception):
    """The guest or QEMU did not do what was waited for; the message names the log."""


class Door(enum.Enum):
    """How QEMU reaches a GPU: our three transports, and QEMU's own device as the baseline."""

    VFIO_USER = "vfio-user"
    VHOST_USER = "vhost-user"
    VHOST_USER_GPU = "vhost-user-gpu"
    QEMU_OWN = "virtio-gpu-pci"

    def arguments(self, socket_path):
        """QEMU's options for this door."""
        if self is Door.QEMU_OWN:
            return ["-device", "virtio-gpu-pci,id=gpu0"]
        if self is Door.VFIO_USER:
            device = {"driver": "vfio-user-pci", "id": "gpu0", "rombar": 0,
                      "socket": {"type": "unix", "path": str(socket_path)}}
            return ["-device", json.dumps(device)]
        if self is Door.VHOST_USER:
            # QEMU has no GPU front end that passes everything; its generic one does.
            device = ("vhost-user-test-device-pci,id=gpu0,chardev=gpu,virtio-id=16,num_vqs=2,"
                      "vq_size=256,config_size=16")
        else:
            device = "vhost-user-gpu-pci,id=gpu0,chardev=gpu"
        return ["-chardev", f"socket,id=gpu,path={socket_path}", "-device", device]


def wait_until(condition, timeout, what):
    """Returns the first true value of condition(); raises LabError with `what` after `timeout` s."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what} did not happen within {timeout} s")
        time.sleep(POLL_SECONDS)


def stop_process(process, seconds=5):
    """Ends a process that we started, kindly and then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def census_of(process):
    """What the process holds now: numbers of open files and threads."""
    root = pathlib.Path(f"/proc/{process.pid}")
    return {"files": len(os.listdir(root / "fd")), "threads": len(os.listdir(root / "task"))}


class QmpClient:
    """QEMU's control socket, one command at a time; events are skipped."""

    def __init__(self, path, timeout=30):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw", encoding="utf-8")
        self._file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self._file.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._file.flush()
        while True:
            line = self._file.readline()
            if not line:
                raise LabError(f"QEMU closed its control socket before it answered {name}")
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"QEMU refused {name}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self._file.close()
        self._socket.close()


class Guest:
    """One QEMU process. Starts with start() or `with`; is gone after stop()."""

    def __init__(self, door, socket_path, folder, *, image="min", files=None, scripts=None,
                 agent=False, memory="1G", processors=2, append="", extra=(), qemu=None,
                 environment=None):
        """
        door, socket_path  how QEMU reaches the GPU, and where our device listens
        folder             for logs and sockets; made if absent
        image              'min' or 'desktop'
        files, scripts     {guest path: host file} and {guest path: text}, put over the image;
                           /swede/run.sh replaces what the guest does after its mounts
        agent              the image's default script serves run()
        memory             size as QEMU writes it; shared with the device
        append, extra      more kernel parameters, more QEMU options
        qemu, environment  another QEMU than the one of the cache, and more of its environment
        """
        self.door = door
        self.folder = pathlib.Path(folder)
        self.serial_path = self.folder / "serial.log"
        self.qemu_log_path = self.folder / "qemu.log"
        self.process = None
        self.qmp = None
        self._socket_path = socket_path
        self._image = image
        self._files = files or {}
        self._scripts = scripts or {}
        self._agent = agent
        self._memory = memory
        self._processors = processors
        self._append = append
        self._extra = list(extra)
        self._qemu = qemu or parts.qemu_wrapper()
        self._environment = dict(os.environ, **(environment or {}))
        self._agent_socket = None
        self._agent_input = b""
        self._agent_number = 0
        self._agent_ready = False

    # --- life ---

    def _initramfs(self):
        image = parts.image_part(self._image).path / "initramfs"
        if not self._files and not self._scripts:
            return image
        combined = self.folder / "initramfs"
        # Linux skips zero bytes between archives and expects each at a multiple of four.
        data = image.read_bytes()
        combined.write_bytes(data + b"\0" * (-len(data) % 4)
                             + overlay(self._files, self._scripts))
        return combined

    def command_line(self):
        kvm = kvm_is_usable()
        append = ("console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on "
                  "tsc=reliable no_timer_check "
                  f"{'swede.agent ' if self._agent else ''}{self._append}")
        return [
            str(self._qemu), "-nodefaults", "-no-user-config", "-no-reboot",
            "-machine", f"q35,accel={'kvm' if kvm else 'tcg'},memory-backend=mem0",
            # Without ERMS and FSRM Linux fills memory in words, 16 times as fast when emulated.
            "-cpu", "host" if kvm else "max,-erms,-fsrm", "-smp", str(self._processors),
            "-m", self._memory,
            "-object", f"memory-backend-memfd,id=mem0,size={self._memory},share=on",
            "-display", "none", "-serial", f"file:{self.serial_path}",
            "-serial", f"unix:{self.folder}/agent.sock,server=on,wait=off",
            "-qmp", f"unix:{self.folder}/qmp.sock,server=on,wait=off",
            "-kernel", str(parts.kernel()), "-initrd", str(self._initramfs()),
            "-append", append.strip(),
            *self.door.arguments(self._socket_path), *self._extra,
        ]

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in (self.serial_path, self.folder / "agent.sock", self.folder / "qmp.sock"):
            leftover.unlink(missing_ok=True)
        command = self.command_line()
        with open(self.qemu_log_path, "wb") as log:
            log.write((" ".join(command) + "\n").encode())
            log.flush()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self._environment)
        try:
            # Sockets appear before QEMU listens on them, so try until one is accepted.
            self.qmp = wait_until(self._try_qmp, 30, f"QEMU's control socket (see "
                                  f"{self.qemu_log_path})")
            self._agent_socket = socket.socket(socket.AF_UNIX)
            self._agent_socket.connect(str(self.folder / "agent.sock"))
        except BaseException:
            self.stop()
            raise
        return self

    def _try_qmp(self):
        self._fail_if_gone()
        try:
            return QmpClient(self.folder / "qmp.sock")
        except OSError:
            return None

    def _fail_if_gone(self):
        if self.process.poll() is not None:
            tail = self.qemu_log_path.read_text(errors="replace").splitlines()[1:][-5:]
            raise LabError(f"QEMU ended with status {self.process.returncode}: "
                           f"{' / '.join(tail) or 'no message'} (see {self.folder})")

    def stop(self):
        """Ends QEMU, whatever the guest does."""
        for connection in (self.qmp, self._agent_socket):
            if connection:
                connection.close()
        self.qmp = self._agent_socket = None
        if self.process:
            stop_process(self.process)

    def wait_for_end(self, timeout=60):
        """Waits until the guest has powered off; returns QEMU's exit status."""
        wait_until(lambda: self.process.poll() is not None, timeout,
                   f"the guest's power-off (see {self.serial_path})")
        return self.process.returncode

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- what it says ---

    def serial(self):
        """All that the guest's console has said so far."""
        try:
            return self.serial_path.read_text(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def wait_for(self, pattern, timeout=60, occurrence=1):
        """Waits for a console line that matches; returns the match."""
        expression = re.compile(pattern, re.M)

        def found():
            gone = self.process.poll() is not None
            matches = list(expression.finditer(self.serial()))
            if len(matches) >= occurrence:
                return matches[occurrence - 1]
            if gone:
                self._fail_if_gone()
            return None

        return wait_until(found, timeout, f"console line /{pattern}/ (see {self.serial_path})")

    # --- what it is told ---

    def run(self, command, timeout=60):
        """Runs a shell command in the guest (needs agent=True); returns (status, output)."""
        self._ask_agent(command, timeout)
        number, status, *rest = self._agent_line(timeout, command).split(b" ")
        if int(number) != self._agent_number:
            raise LabError(f"the guest answered command {int(number)} instead of "
                           f"{self._agent_number}: {command}")
        return int(status), base64.b64decode(rest[0] if rest else b"").decode(errors="replace")

    def _ask_agent(self, command, timeout):
        if not self._agent_ready:
            self.expect_agent(timeout)
        self._agent_number += 1
        text = base64.b64encode(command.encode())
        self._agent_socket.sendall(b"%d %s\n" % (self._agent_number, text))

    def start_orders(self, command, timeout=60):
        """Starts a program that takes the agent's line for itself: order() speaks to it. Until it ends
        there is no run()."""
        self._ask_agent(f"{command} /dev/ttyS1", timeout)
        self._order_answer(command, timeout)

    def order(self, text, timeout=60):
        """One line for that program; its answer without the SWEDE before it."""
        self._agent_socket.sendall(text.encode() + b"\n")
        return self._order_answer(text, timeout)

    def _order_answer(self, what, timeout):
        line = self._agent_line(timeout, what)
        if line.startswith(b"SWEDE "):
            return line[6:].decode()
        _, status, *rest = line.split(b" ")  # the agent's: the program has ended
        output = base64.b64decode(rest[0] if rest else b"").decode(errors="replace")
        raise LabError(f"the guest's program ended with {int(status)} at '{what[:100]}': {output}")

    def check(self, command, timeout=60):
        """Like run(), but a failure is an error; returns the output."""
        status, output = self.run(command, timeout)
        if status != 0:
            raise LabError(f"the guest's '{command}' ended with {status}: {output}")
        return output

    def expect_agent(self, timeout=60):
        """Waits until the guest's agent has started; needed only after a reboot of the guest's own
        making, since run() does it after start() and reset()."""
        while self._agent_line(timeout, "start of the agent") != b"ready":
            pass
        self._agent_ready = True

    def _agent_line(self, timeout, what):
        deadline = time.monotonic() + timeout
        while b"\n" not in self._agent_input:
            self._agent_socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._agent_socket.recv(1 << 16)
            except TimeoutError:
                raise LabError(f"the guest did not answer within {timeout} s: {what} "
                               f"(see {self.serial_path})") from None
            if not data:
                self.process.wait(10)
                self._fail_if_gone()
            self._agent_input += data
        line, self._agent_input = self._agent_input.split(b"\n", 1)
        return line.strip(b"\r")

    def reset(self):
        """Presses the reset button."""
        self.allow_reboots()
        self._agent_ready = False
        self.qmp.command("system_reset")

    def allow_reboots(self):
        """From now on a reboot of the guest is one; before, it ends QEMU, so no panic can loop."""
        self.qmp.command("set-action", reboot="reset")

    def screendump(self, path):
        """QEMU's own view of the display, as PNG; only some doors have one."""
        self.qmp.command("screendump", filename=str(path), format="png")


class Device:
    """One process of our program, listening on a socket, with its log in `folder`."""

    def __init__(self, door, folder, *, program=None, arguments=(), environment=None):
        """
        program      path of the `swede` program; by default the one of $SWEDE_BUILD
        arguments    more options of `swede device`
        """
        self.folder = pathlib.Path(folder)
        self.socket_path = self.folder / "gpu.sock"
        self.control_path = self.folder / "control.sock"
        self.log_path = self.folder / "device.log"
        self.program = pathlib.Path(program) if program else swede_program()
        self.process = None
        self._command = [str(self.program), "device", "--socket-path", str(self.socket_path),
                         "--transport", door.value, "--control-path", str(self.control_path),
                         *arguments]
        self._environment = dict(os.environ, **(environment or {}))

    def start(self, timeout=10):
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in (self.socket_path, self.control_path):
            leftover.unlink(missing_ok=True)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self._environment)
        try:
            wait_until(self._is_listening, timeout, f"the device's socket (see {self.log_path})")
        except BaseException:
            self.stop()
            raise
        return self

    def fail_if_gone(self):
        if self.process.poll() is not None:
            tail = self.log().splitlines()[-3:]
            raise LabError(f"the device ended with status {self.process.returncode}: "
                           f"{' / '.join(tail) or 'no message'} (see {self.log_path})")

    def _is_listening(self):
        self.fail_if_gone()
        # A connection would be served as a client, so look whether someone listens instead.
        listening = pathlib.Path("/proc/net/unix").read_text(errors="replace")
        return all(re.search(rf" 00010000 .* {re.escape(str(path))}$", listening, re.M)
                   for path in (self.socket_path, self.control_path))

    def stop(self):
        if self.process:
            stop_process(self.process)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for_log(self, pattern, timeout=10):
        """Waits for a line of the device's log that matches; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log(), re.M), timeout,
                          f"log line /{pattern}/ (see {self.log_path})")

    def control(self, *arguments, timeout=30):
        """Runs `swede control`; returns its output, an error status is an error."""
        self.fail_if_gone()
        answer = subprocess.run([str(self.program), "control", str(self.control_path), *arguments],
                                capture_output=True, text=True, timeout=timeout, check=False)
        if answer.returncode != 0:
            raise LabError(f"swede control {' '.join(arguments)} ended with {answer.returncode}: "
                           f"{answer.stderr.strip()}")
        return answer.stdout

    def census(self):
        return census_of(self.process)


def build_folder():
    """The build that is tested: $SWEDE_BUILD, by default `build`."""
    return pathlib.Path(os.environ.get("SWEDE_BUILD") or REPOSITORY / "build").absolute()


def swede_program():
    return build_folder() / "src" / "swede" / "swede"
