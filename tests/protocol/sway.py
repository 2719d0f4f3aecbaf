# SPDX-License-Identifier: Apache-2.0
"""A real compositor without a screen: sway with wlroots' headless output."""

from desktop import Desktop, Keyboard

CONFIGURATION = """
xwayland disable
default_border none
default_floating_border none
for_window [app_id=".*"] floating enable, move absolute position 100 50
output * resolution 800x600 position 0 0
exec echo $WAYLAND_DISPLAY > "$XDG_RUNTIME_DIR/display"
"""


class Sway(Desktop):
    """`configuration`: more of sway(5). With a keyboard, which other programs may want none of."""

    WINDOW_AT = 100, 50

    def __init__(self, configuration="", keyboard=False):
        super().__init__("sway", {"config": CONFIGURATION + configuration})
        self.environment |= {"WLR_BACKENDS": "headless", "WLR_RENDERER": "pixman", "WLR_LIBINPUT_NO_DEVICES": "1"}
        self.has_keyboard = keyboard
        self.keyboard = None
        self.start()

    def command(self):
        return "sway", "-c", str(self.folder / "config")

    def find_socket(self):
        display = self.folder / "display"
        if not display.exists() or not (name := display.read_text().strip()):
            return None
        return self.folder / name

    def start(self):
        super().start()
        (self.folder / "display").unlink()
        if self.has_keyboard:
            self.keyboard = Keyboard(self.socket)

    def stop(self):
        if self.keyboard:
            self.keyboard.close()
        super().stop()
