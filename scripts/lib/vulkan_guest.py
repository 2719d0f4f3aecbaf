# SPDX-License-Identifier: Apache-2.0
"""What the Vulkan demo and its tests make a guest of the Vulkan images do."""

import dataclasses
import os
import pathlib
import re
import time

import parts
from lab import LabError

GFXSTREAM = "gfxstream"  # Mesa's driver for our device
LAVAPIPE = "lavapipe"  # Mesa's driver that renders in the guest
START_SECONDS = 120
# A compositor that draws with the processor takes no dma-bufs from clients: the driver then has to
# copy each picture into shared memory. One that draws with GL takes them.
COMPOSITORS = {"pixman": "MESA_VK_WSI_DEBUG=sw ", "gl": ""}  # weston's renderer -> for its clients
COPIED = "copied by the guest's processor (wl_shm)"
HANDED_OVER = "handed over as dma-bufs (linux-dmabuf)"
PRESENTATION = {
    r"wl_shm_pool[#@]\d+\.create_buffer": COPIED,
    r"zwp_linux_buffer_params_v1[#@]\d+\.create": HANDED_OVER,
}
WESTON_SECONDS = 120
CUBE_WINDOW = 500  # pixels, both ways
CUBE_BACKGROUND = 51  # red, green and blue, each 0.2
FEW_FRAMES = 5
MEASURED_SECONDS = 8
MOST_FRAMES = FEW_FRAMES * 5**4


@dataclasses.dataclass
class VulkanDevice:
    """What `vulkaninfo --summary` says of one device."""

    name: str
    driver: str
    api_version: str
    kind: str


def lavapipe_environment():
    """What makes the device render with lavapipe of the cache."""
    paths = parts.paths()
    return {"VK_DRIVER_FILES": str(paths["driver-lavapipe"]),
            "LD_LIBRARY_PATH": str(paths["driver-libraries"]),
            "VK_LOADER_LAYERS_DISABLE": "~implicit~"}


def host_environment():
    """What makes the device render with a GPU of this machine, or with the driver that the person
    chose; with lavapipe of the cache when there is neither."""
    chosen = {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} & os.environ.keys()
    gpus = [*pathlib.Path("/dev/dri").glob("renderD*"), *pathlib.Path("/dev").glob("nvidia[0-9]*")]
    return {} if chosen or gpus else lavapipe_environment()


def command(driver, text, compositor="pixman"):
    environment = COMPOSITORS[compositor] if driver == GFXSTREAM else ""
    return f"{environment}sh /swede/vulkan.sh {driver} {text}"


def start_weston(guest, compositor):
    """Starts weston, in place of one that runs."""
    guest.check(f"sh /swede/weston.sh {compositor}", WESTON_SECONDS)


def gl_renderer(guest):
    """What weston, with the compositor `gl`, draws with."""
    return guest.check("sed -n 's/.*GL renderer: //p' /run/weston.log").strip()


def devices(guest, driver):
    """Asks the guest's Vulkan loader for the devices of one driver."""
    text = guest.check(command(driver, "vulkaninfo --summary"), START_SECONDS)
    found = []
    for block in re.split(r"^GPU\d+:$", text, flags=re.M)[1:]:
        fields = dict(re.findall(r"^\s+(\w+)\s+= (.*)$", block, re.M))
        found.append(VulkanDevice(fields["deviceName"], f"{fields['driverName']} "
                                  f"{fields.get('driverInfo', '')}".strip(), fields["apiVersion"],
                                  fields["deviceType"].removeprefix("PHYSICAL_DEVICE_TYPE_")))
    if not found:
        raise LabError(f"vulkaninfo found no device: {text[-600:]}")
    return found


def start_cube(guest, driver, compositor="pixman"):
    """Starts vkcube on weston; returns once it has handed over its third picture."""
    guest.check("rm -f /tmp/cube.log; WAYLAND_DEBUG=1 "
                + command(driver, "vkcube --wsi wayland --suppress_popups > /tmp/cube.log 2>&1 &",
                          compositor))
    # -c counts lines; each commit of a picture attaches a buffer.
    guest.check("n=0; until [ $(grep -c 'wl_surface.*attach(wl_buffer' /tmp/cube.log) -ge 3 ]; do "
                f"n=$((n + 1)); if [ $n -gt {START_SECONDS * 10} ] || ! pidof vkcube > /dev/null; "
                "then tail -n 20 /tmp/cube.log; exit 1; fi; sleep 0.1; done", START_SECONDS * 2)


def presentation(guest):
    """How vkcube hands pictures to the compositor, by the requests that it sent."""
    log = guest.check("grep -E 'create' /tmp/cube.log")
    ways = [way for pattern, way in PRESENTATION.items() if re.search(pattern, log)]
    if len(ways) != 1:
        raise LabError(f"no single way of presentation is in vkcube's requests: {ways}")
    return ways[0]


def hold_cube(guest):
    """Lets the cube stand still, so that a picture of it is not half of one and half of another."""
    guest.check("killall -STOP vkcube")


def stop_cube(guest):
    guest.check("killall -CONT vkcube; killall vkcube; while pidof vkcube > /dev/null; do "
                "sleep 0.1; done")


def frame_rate(guest, driver, compositor="pixman"):
    """Frames per second of vkcube, without what its start takes."""

    def seconds(frames):
        text = guest.check(command(driver, f"cube {frames}", compositor), 600)
        found = re.search(r"start=(\S+) end=(\S+)$", text, re.M)
        if not found:
            raise LabError(f"vkcube was not timed: {text[-600:]}")
        return float(found[2]) - float(found[1])

    seconds(FEW_FRAMES)  # what only the first start reads and compiles
    few = seconds(FEW_FRAMES)
    frames = FEW_FRAMES
    while True:
        frames *= 5
        more = seconds(frames) - few
        if more >= MEASURED_SECONDS or frames >= MOST_FRAMES:
            return (frames - FEW_FRAMES) / max(more, 0.01)


def steady_picture(take, timeout=20):
    """Takes pictures until two are equal; `take` returns one as an array."""
    deadline = time.monotonic() + timeout
    last = take()
    while time.monotonic() < deadline:
        time.sleep(0.2)
        picture = take()
        if picture.shape == last.shape and (picture == last).all():
            return picture
        last = picture
    raise LabError(f"the picture changed for {timeout} s although the cube was held")


def check_cube(picture):
    """vkcube's window in an RGB picture: a cube with LunarG's texture, clear of the window's edges.
    Returns how much of the window it covers."""
    picture = picture.astype(int)
    background = (picture == CUBE_BACKGROUND).all(axis=2)
    # Other pixels have that colour too, but not so many in a line.
    rows = (background.sum(axis=1) > CUBE_WINDOW / 10).nonzero()[0]
    columns = (background.sum(axis=0) > CUBE_WINDOW / 10).nonzero()[0]
    if len(rows) != CUBE_WINDOW or len(columns) != CUBE_WINDOW:
        raise LabError(f"vkcube's window should be {CUBE_WINDOW}x{CUBE_WINDOW}; its background is in "
                       f"{len(columns)} columns and {len(rows)} rows")
    window = picture[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    cube = ~background[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    inner = slice(CUBE_WINDOW // 20, -CUBE_WINDOW // 20)
    blueness = window[..., 2] - window[..., 0]
    covered, textured = cube.mean(), (cube & (blueness > 25)).mean()
    shades = len(set(window[..., 0][cube & (abs(blueness) < 6)]))
    if (cube.sum() != cube[inner, inner].sum() or not 0.1 < covered < 0.6 or textured < 0.01
            or shades < 20):
        raise LabError(f"vkcube's window shows no cube: {covered:.1%} of it are covered, "
                       f"{textured:.1%} by the texture's colours, in {shades} shades of grey")
    return covered
