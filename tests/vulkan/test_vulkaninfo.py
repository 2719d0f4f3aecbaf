# SPDX-License-Identifier: Apache-2.0
"""What the device says of itself, by the tool that people ask first."""

import json
import pathlib
import re

import pytest

VULKANINFO = "/usr/bin/vulkaninfo"
HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}


def summary(answer):
    assert answer.status == 0, answer.errors[-4000:]
    blocks = re.split(r"^GPU\d+:$", answer.output, flags=re.M)[1:]
    return [dict(re.findall(r"^\s+(\w+)\s+= (.*)$", block, re.M)) for block in blocks]




def test_program_has_the_guests_driver_and_not_the_hosts(started):
    """Elsewhere the same results are expected of both, so it has to be sure who gave them."""
    busy = started("vk_busy", "--megabytes", 1)
    assert busy.wait_for_line()["running"]
    maps = pathlib.Path(f"/proc/{busy.program_pid()}/maps").read_text()
    assert "libvulkan_gfxstream.so" in maps and "libvulkan_lvp.so" not in maps
    renderers = [pathlib.Path(f"/proc/{pid}/maps").read_text() for pid in busy.renderers()]
    assert any("libvulkan_lvp.so" in text for text in renderers)


def test_summary_names_the_hosts_device(swede, native):
    [own] = summary(swede(VULKANINFO, "--summary", environment=HEADLESS))
    [host] = summary(native(VULKANINFO, "--summary", environment=HEADLESS))
    assert own["deviceName"] == host["deviceName"]
    version = [tuple(map(int, device["apiVersion"].split("."))) for device in (own, host)]
    assert (1, 1, 0) <= version[0] <= version[1]


def test_no_device_without_swede(native):
    """The guest's driver alone has nothing to drive: what is seen above is our device."""
    from lab_programs import cached  # pylint: disable=import-outside-toplevel
    answer = native(VULKANINFO, "--summary", environment=HEADLESS | {
        "VK_DRIVER_FILES": cached("driver-gfxstream")})
    assert answer.status != 0 or summary(answer) == []


@pytest.mark.parametrize("words", [[], ["--summary"]])
def test_everything_can_be_asked(swede, words):
    answer = swede(VULKANINFO, *words, environment=HEADLESS)
    assert answer.status == 0, answer.errors[-4000:]
    assert "ERROR" not in answer.output


def profile(run, tmp_path, name):
    """Limits, features, formats and extensions, in the form of Vulkan's profiles."""
    path = tmp_path / f"{name}.json"
    answer = run(VULKANINFO, "--json", "--output", path, environment=HEADLESS)
    assert answer.status == 0, answer.errors[-4000:]
    return json.loads(path.read_text())["capabilities"]["device"]


def test_nothing_is_promised_that_the_host_lacks(swede, native, tmp_path):
    own, host = profile(swede, tmp_path, "own"), profile(native, tmp_path, "host")
    assert own["formats"].keys() <= host["formats"].keys()
    assert "VK_FORMAT_R8G8B8A8_UNORM" in own["formats"]
    features = "VkPhysicalDeviceFeatures"
    assert all(host["features"][features][name] for name, has in own["features"][features].items()
               if has)
    limits = [device["properties"]["VkPhysicalDeviceProperties"]["limits"] for device in (own, host)]
    for name in ("maxImageDimension2D", "maxBoundDescriptorSets", "maxComputeSharedMemorySize"):
        assert 0 < limits[0][name] <= limits[1][name]
