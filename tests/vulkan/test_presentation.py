# SPDX-License-Identifier: Apache-2.0
"""vkcube in a window: a real swapchain, seen on a real X server."""

import sys
import time

import pytest

from lab_programs import REPOSITORY, Running, native_command, swede_command
from screen import Screen

sys.path[:0] = [str(REPOSITORY / "scripts" / "lib"), str(REPOSITORY / "tests" / "guest")]
# pylint: disable=wrong-import-position
import vulkan_guest

WAIT_SECONDS = 90
# Without DRI3, which Xvfb lacks, pictures go through the X protocol.
SOFTWARE = {"MESA_VK_WSI_DEBUG": "sw"}
COMMANDS = {"native": native_command, "swede": swede_command}


def cube_is_seen(screen):
    """The part of the window that the cube covers, or the reason why it is not there."""
    try:
        return vulkan_guest.check_cube(screen.picture())
    except vulkan_guest.LabError as reason:
        return str(reason)


@pytest.mark.parametrize("where", COMMANDS)
def test_cube_is_seen(tmp_path, where):
    with Screen(tmp_path) as screen:
        command = COMMANDS[where]("/usr/bin/vkcube", "--suppress_popups")
        with Running(command, tmp_path, SOFTWARE | {"DISPLAY": screen.display}) as cube:
            deadline = time.monotonic() + WAIT_SECONDS
            while isinstance(seen := cube_is_seen(screen), str):
                assert cube.process.poll() is None, cube.log()[-4000:]
                assert time.monotonic() < deadline, f"{seen}; {cube.log()[-2000:]}"
                time.sleep(0.3)
            first = screen.picture().copy()
            while (screen.picture() == first).all():  # it turns
                assert cube.process.poll() is None, cube.log()[-4000:]
                assert time.monotonic() < deadline, "the cube stands still"
                time.sleep(0.3)


def test_empty_screen_shows_no_cube(tmp_path):
    with Screen(tmp_path) as screen:
        assert "window should be" in cube_is_seen(screen)
