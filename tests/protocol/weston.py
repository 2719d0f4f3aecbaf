# SPDX-License-Identifier: Apache-2.0
"""A second real compositor: weston, in a window that fills a sway without a screen. Its own headless output
has no seat; in a window it has the seat of the compositor around it, and shows itself there."""

import socket

from desktop import Desktop
from sway import Sway

CONFIGURATION = """
[core]
idle-time=0
[shell]
panel-position=none
background-color=0xff102030
locking=false
animation=none
close-animation=none
startup-animation=none
focus-animation=none
"""
SOCKET = "wayland-weston"


class Weston(Desktop):
    WINDOW_AT = None  # it places windows anywhere

    def __init__(self):
        self.outer = Sway(keyboard=True)
        try:
            super().__init__("weston", {"weston.ini": CONFIGURATION})
            self.start()
        except BaseException:
            self.outer.close()
            raise

    def command(self):
        return ("weston", "--backend=wayland-backend.so", f"--display={self.outer.socket}", "--sprawl",
                "--use-pixman", f"--config={self.folder}/weston.ini", f"--socket={SOCKET}")

    def find_socket(self):
        path = self.folder / SOCKET
        with socket.socket(socket.AF_UNIX) as client:  # its file is there before it listens
            return path if client.connect_ex(str(path)) == 0 else None

    def close(self):
        super().close()
        self.outer.close()

    def picture(self):
        return self.outer.picture()
