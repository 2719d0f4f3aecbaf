# SPDX-License-Identifier: Apache-2.0
"""The demo's word `vulkan`: what a guest's Vulkan programs see and reach, on our device and without."""

import vulkan_guest
from vulkan_guest import GFXSTREAM, LAVAPIPE

WESTON_SECONDS = 60


def run(guest, take_picture, path, clock):
    import pictures  # needs what setup installs, so not at the top
    clock("vulkaninfo says of the driver for our device:")
    device = vulkan_guest.devices(guest, GFXSTREAM)[0]
    print(f"  {device.name} ({device.kind}), Vulkan {device.api_version}, {device.driver}",
          flush=True)
    clock("starting weston")
    guest.check("sh /swede/weston.sh", WESTON_SECONDS)
    clock("starting vkcube")
    vulkan_guest.start_cube(guest, GFXSTREAM)
    way = vulkan_guest.presentation(guest)
    vulkan_guest.hold_cube(guest)
    clock("vkcube has drawn; taking the picture")

    def picture():
        take_picture()
        return pictures.load(path)

    covered = vulkan_guest.check_cube(vulkan_guest.steady_picture(picture))
    vulkan_guest.stop_cube(guest)
    clock(f"the picture shows its cube, which covers {covered:.0%} of its window")
    clock("counting frames of vkcube")
    rates = {driver: vulkan_guest.frame_rate(guest, driver) for driver in (GFXSTREAM, LAVAPIPE)}
    clock("done")
    print(f"rendered by:      {device.name} of this machine\n"
          f"presented:        {way}\n"
          f"vkcube:           {rates[GFXSTREAM]:.1f} frames a second\n"
          f"without a GPU:    {rates[LAVAPIPE]:.1f} frames a second, rendered inside the guest "
          f"(lavapipe); {rates[GFXSTREAM] / rates[LAVAPIPE]:.1f} times as many with it", flush=True)
