# SPDX-License-Identifier: Apache-2.0
"""What real compositors have in common for the tests: a folder and a user of their own, programs that run on
them, pictures, and a keyboard."""

import io
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import numpy
from PIL import Image

from wayland_client import WaylandClient

NOBODY = 65534
PATIENCE_SECONDS = 60
KEYMAP = b"""xkb_keymap {
  xkb_keycodes { <DESK> = 38; };
  xkb_types { virtual_modifiers NumLock; type "ONE_LEVEL" { modifiers = none; }; };
  xkb_compatibility { };
  xkb_symbols { key <DESK> { [ a ] }; };
};\0"""


def command_of_user(*words):
    """sway refuses root."""
    if os.geteuid() != 0:
        return words
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words)


class Desktop:
    """A compositor that runs; `socket` is where it listens. Who derives has command(), and find_socket(),
    which is None until it listens."""

    def __init__(self, name, files):
        """`files`: {name: text} for its folder."""
        # Where another user gets to, whatever TMPDIR says.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"swede-{name}-",
                                                    dir="/tmp" if os.geteuid() == 0 else None))
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8",
                            "XDG_RUNTIME_DIR": str(self.folder)}
        for file, text in files.items():
            (self.folder / file).write_text(text)
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, NOBODY, NOBODY)
        self.process = None
        self.socket = None

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command_of_user(*self.command()), env=self.environment,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.find_socket()):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"{self.command()[0]} does not start"
            time.sleep(0.01)
        self.environment["WAYLAND_DISPLAY"] = found.name
        self.socket = found

    def stop(self):
        """At once, as a crash does it."""
        self.process.kill()
        self.process.wait()
        self.environment.pop("WAYLAND_DISPLAY", None)
        for path in self.folder.glob("wayland-*"):
            path.unlink()

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)

    def run(self, *words, **more):
        """A program of the desktop; its standard output."""
        return subprocess.run(command_of_user(*words), env=self.environment, check=True,
                              timeout=PATIENCE_SECONDS, stdout=subprocess.PIPE, **more).stdout

    def popen(self, *words, **more):
        return subprocess.Popen(command_of_user(*words), env=self.environment, **more)

    def picture(self):
        """What the output shows: an RGB array."""
        with Image.open(io.BytesIO(self.run("grim", "-t", "png", "-"))) as picture:
            return numpy.asarray(picture.convert("RGB"))


class HostConnection:
    """A Wayland client's on the host, without a channel."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.socket.connect(str(path))

    def send(self, data, files):
        sent = socket.send_fds(self.socket, [data], files)
        self.socket.sendall(data[sent:])

    def receive(self):
        data, files, _, _ = socket.recv_fds(self.socket, 4096, 28)
        return (data, files) if data else None


class Keyboard:
    """What a headless compositor has none of: its seat has a keyboard as long as this one is there, and so
    windows have a focus."""

    def __init__(self, path):
        self.connection = HostConnection(path)
        client = WaylandClient(self.connection).start()
        keymap = os.memfd_create("keymap")
        os.write(keymap, KEYMAP)
        manager = client.bind("zwp_virtual_keyboard_manager_v1")
        keyboard = client.request(manager, "create_virtual_keyboard", client.bind("wl_seat"),
                                  "zwp_virtual_keyboard_v1")
        client.request(keyboard, "keymap", 1, keymap, len(KEYMAP))
        client.round_trip()
        os.close(keymap)

    def close(self):
        self.connection.socket.close()
