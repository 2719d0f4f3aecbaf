# SPDX-License-Identifier: Apache-2.0
"""A picture that a Vulkan program draws on our device, as a window of the host's compositor: memory goes from a
context of Vulkan to one of cross-domain by PRIME, and nobody copies."""

import pathlib
import subprocess
import sys

import numpy
import pytest

from lab_programs import REPOSITORY, wait_until

sys.path += [str(REPOSITORY / "tests" / "protocol"), str(REPOSITORY / "tests" / "guest")]
# pylint: disable=wrong-import-position
import pictures
from sway import Sway

EDGE = 256
GUEST_PROGRAMS = REPOSITORY / "tests" / "guest" / "programs"


@pytest.fixture(scope="module", name="sway")
def running_sway():
    made = Sway()
    yield made
    made.close()


@pytest.fixture(scope="module", name="viewer")
def built_viewer(tmp_path_factory):
    """The guests' Wayland client."""
    target = pathlib.Path(tmp_path_factory.mktemp("viewer")) / "swede_wayland"
    headers = subprocess.run(["pkg-config", "--cflags", "libdrm"], capture_output=True, text=True,
                             check=True).stdout.split()
    subprocess.run(["cc", "-O2", *headers, f"-I{REPOSITORY}/tests/programs", "-o", target,
                    GUEST_PROGRAMS / "swede_wayland.c"], check=True)
    return target


def test_what_vulkan_has_drawn_is_a_window_on_the_desktop(started, sway, viewer):
    program = started("vk_share", "--size", EDGE, "--show-with", viewer,
                      options=["--wayland-socket-path", sway.socket])
    expected = pictures.vk_share(EDGE)

    def shown():
        assert program.process.poll() is None, program.log()
        return pictures.difference(sway.picture()[50:50 + EDGE, 100:100 + EDGE], expected) is None

    wait_until(shown, "Vulkan's picture on the desktop, pixel for pixel")
