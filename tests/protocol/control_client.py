# SPDX-License-Identifier: Apache-2.0
"""A client of the control socket: lines of JSON, a picture as a file descriptor."""

import array
import io
import json
import os
import socket

from PIL import Image


class Refused(Exception):
    """The device answered with an error; the text is its sentence."""


class Control:
    """One connection."""

    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # without a time limit it waits for room in the backlog
        self.socket.settimeout(timeout)
        self._input = b""
        self._files = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for file in self._files:
            os.close(file)
        self._files = []
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        """The next reply as JSON; None when the device has closed the connection."""
        while b"\n" not in self._input:
            data, ancillary, _, _ = self.socket.recvmsg(65536, socket.CMSG_SPACE(64))
            for level, kind, content in ancillary:
                assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                self._files += array.array("i", content).tolist()
            if not data:
                assert self._input == b"", "a reply is cut"
                return None
            self._input += data
        line, self._input = self._input.split(b"\n", 1)
        return json.loads(line)

    def raw(self, line):
        """Sends a line as it is; the reply's error or value."""
        self.send(line + b"\n")
        reply = self.receive()
        assert reply is not None, "the device closed the connection"
        assert isinstance(reply, dict) and len(reply) == 1
        if "error" in reply:
            raise Refused(reply["error"])
        return reply["return"]

    def ask(self, command, **arguments):
        return self.raw(json.dumps({"command": command, **arguments}).encode())

    def screenshot(self, output=0):
        assert self.ask("screenshot", output=output) == {}
        assert len(self._files) == 1, "a picture is one file"
        with open(self._files.pop(), "rb") as file:
            assert file.tell() == 0
            return Image.open(io.BytesIO(file.read())).copy()

    def is_closed(self):
        """Waits for the device to close."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
