# SPDX-License-Identifier: Apache-2.0
"""A real compositor without a screen: sway with wlroots' headless output, its pictures and clipboard."""

import io
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import numpy
from PIL import Image

NOBODY = 65534
START_SECONDS = 60
CONFIGURATION = """
xwayland disable
default_border none
default_floating_border none
for_window [app_id=".*"] floating enable, move absolute position 100 50
output * resolution 800x600 position 0 0
exec echo $WAYLAND_DISPLAY > "$XDG_RUNTIME_DIR/display"
"""


class Sway:
    """One that runs; `socket` is where it listens. `configuration`: more of sway(5)."""

    def __init__(self, configuration=""):
        # Where another user gets to, whatever TMPDIR says.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="swede-sway-",
                                                    dir="/tmp" if os.geteuid() == 0 else None))
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder),
            "WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1",
            "LANG": "C.UTF-8"}
        (self.folder / "config").write_text(CONFIGURATION + configuration)
        if os.geteuid() == 0:
            for path in (self.folder, self.folder / "config"):
                os.chown(path, NOBODY, NOBODY)
        self.process = None
        self.socket = None
        self.start()

    def _command(self, *words):
        """sway refuses root."""
        if os.geteuid() != 0:
            return words
        return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *words)

    def start(self):
        display = self.folder / "display"
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self._command("sway", "-c", str(self.folder / "config")), env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not (display.exists() and (name := display.read_text().strip())):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "sway does not start"
            time.sleep(0.01)
        display.unlink()
        self.environment["WAYLAND_DISPLAY"] = name
        self.socket = self.folder / name

    def stop(self):
        """At once, as a crash does it."""
        self.process.kill()
        self.process.wait()
        del self.environment["WAYLAND_DISPLAY"]
        for path in self.folder.glob("wayland-*"):
            path.unlink()

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder)

    def run(self, *words, **more):
        """A program of the desktop; its standard output."""
        return subprocess.run(self._command(*words), env=self.environment, check=True, timeout=60,
                              stdout=subprocess.PIPE, **more).stdout

    def popen(self, *words, **more):
        return subprocess.Popen(self._command(*words), env=self.environment, **more)

    def picture(self):
        """What the output shows: an RGB array."""
        with Image.open(io.BytesIO(self.run("grim", "-t", "png", "-"))) as picture:
            return numpy.asarray(picture.convert("RGB"))
