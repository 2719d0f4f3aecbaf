# SPDX-License-Identifier: Apache-2.0
"""An X server without a screen, and what is to be seen on it."""

import os
import struct
import subprocess

import numpy


class Screen:
    """Xvfb on a display number that it chose; its picture lies in a file that we map."""

    def __init__(self, folder, size=(640, 600)):
        self._folder = folder
        read, write = os.pipe()
        with open(folder / "xvfb.log", "wb") as log:
            self._process = subprocess.Popen(  # pylint: disable=consider-using-with
                ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size[0]}x{size[1]}x24",
                 "-fbdir", str(folder), "-nolisten", "tcp", "-ac"], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, pass_fds=[write])
        os.close(write)
        with os.fdopen(read, encoding="ascii") as answer:
            number = answer.readline().strip()
        if not number:
            self.close()
            raise AssertionError(f"Xvfb did not start: {(folder / 'xvfb.log').read_text()}")
        self.display = f":{number}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()

    def picture(self):
        """An RGB array; the file is in the format of xwd (X11/XWDFile.h), big-endian head."""
        data = (self._folder / "Xvfb_screen0").read_bytes()
        head = struct.unpack(">25I", data[:100])
        head_size, width, height = head[0], head[4], head[5]
        bits, line, colours = head[11], head[12], head[19]
        assert bits == 32, f"a pixel should have 32 bits, not {bits}"
        start = head_size + 12 * colours
        rows = numpy.frombuffer(data, numpy.uint8, line * height, start).reshape(height, line)
        return rows[:, :4 * width].reshape(height, width, 4)[..., 2::-1]
