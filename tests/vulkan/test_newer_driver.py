# SPDX-License-Identifier: Apache-2.0
"""The guest's driver of the newest Mesa that Debian has for its stable release, on our device. Guests
are updated when their owners like, so what we speak has to be understood by both generations."""

import pathlib
import re

import pytest

import lab_programs
from lab_programs import Running, both, cached, newer_driver_command

pytestmark = pytest.mark.slow
VULKANINFO = "/usr/bin/vulkaninfo"
HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


@pytest.fixture(name="newer")
def _newer():
    """newer(program, *arguments): its Answer on our device, by the newer driver."""
    def run(*words, **options):
        return lab_programs.run(newer_driver_command(*words), **options)
    return run


def test_device_is_named_by_the_newer_driver(newer):
    answer = newer(VULKANINFO, "--summary", environment=HEADLESS)
    assert answer.status == 0, answer.errors[-4000:]
    # Older ones give the host's name alone.
    [name] = re.findall(r"^\s+deviceName\s+= (.*)$", answer.output, re.M)
    assert re.fullmatch(r"Virtio-GPU GFXStream \(llvmpipe .*\)", name), name


def test_program_has_the_newer_driver_and_the_host_its_own(tmp_path):
    """Elsewhere the same results are expected of both, so it has to be sure who gave them."""
    with Running(newer_driver_command("vk_busy", "--megabytes", 1), tmp_path) as busy:
        assert busy.wait_for_line()["running"], busy.log()
        maps = {pid: pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in busy.descendants()}
    guest = [text for text in maps.values() if "libvulkan_gfxstream.so" in text]
    host = [text for text in maps.values() if "libvulkan_lvp.so" in text]
    newer = pathlib.Path(cached("newer-driver-start")).parent
    assert len(guest) == 1 and f"{newer}/tree/" in guest[0] and guest[0] not in host
    assert host and all(cached("driver-libraries") in text and str(newer) not in text
                        for text in host)


def test_everything_can_be_asked(newer):
    answer = newer(VULKANINFO, environment=HEADLESS)
    assert answer.status == 0, answer.errors[-4000:]
    assert "ERROR" not in answer.output


@pytest.mark.parametrize("words", [1, 100_003, 3_000_000])
def test_compute(native, newer, tmp_path, words):
    both(native, newer, tmp_path, "vk_compute", "--words", words)


@pytest.mark.parametrize("size", [256, 1001])
def test_triangle(native, newer, tmp_path, size):
    both(native, newer, tmp_path, "vk_triangle", "--size", size)


def test_scene(native, newer, tmp_path):
    both(native, newer, tmp_path, "vk_scene")


def test_threads(newer):
    assert newer("vk_threads", "--threads", 8, "--rounds", 6).line()["threads"] == 8


def test_image_shared_between_processes(newer):
    answer = newer("vk_share", "--starter", cached("newer-driver-start"))
    assert answer.line() == {"program": "vk_share", "size": 250}


def test_border_colours_that_do_not_arrive(newer):
    assert newer("vk_border").line() == {"program": "vk_border"}
