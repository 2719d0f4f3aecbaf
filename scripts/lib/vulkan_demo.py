# SPDX-License-Identifier: Apache-2.0
"""The demo's word `vulkan`: what a guest's Vulkan programs see and reach, on our device and without."""

import vulkan_guest
from vulkan_guest import GFXSTREAM, LAVAPIPE


def run(guest, take_picture, path, clock):
    import pictures  # needs what setup installs, so not at the top
    clock("vulkaninfo says of the driver for our device:")
    device = vulkan_guest.devices(guest, GFXSTREAM)[0]
    print(f"  {device.name} ({device.kind}), Vulkan {device.api_version}, {device.driver}",
          flush=True)
    clock("starting weston, which draws with GL")
    vulkan_guest.start_weston(guest, "gl")
    compositor = vulkan_guest.gl_renderer(guest)
    clock("starting vkcube")
    vulkan_guest.start_cube(guest, GFXSTREAM, "gl")
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
    rate = vulkan_guest.frame_rate(guest, GFXSTREAM, "gl")
    clock("counting frames on a weston that draws with the guest's processor")
    vulkan_guest.start_weston(guest, "pixman")
    copied, own = (vulkan_guest.frame_rate(guest, driver) for driver in (GFXSTREAM, LAVAPIPE))
    clock("done")
    print(f"rendered by:      {device.name} of this machine\n"
          f"composited by:    {compositor}\n"
          f"presented:        {way}\n"
          f"vkcube:           {rate:.1f} frames a second\n"
          f"with copies:      {copied:.1f} frames a second, on a weston that draws with the guest's "
          f"processor ({vulkan_guest.COPIED})\n"
          f"without a GPU:    {own:.1f} frames a second, rendered inside the guest (lavapipe), on the "
          f"same; {rate / own:.1f} times as many with dma-bufs, {copied / own:.1f} with copies",
          flush=True)
