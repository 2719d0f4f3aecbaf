# SPDX-License-Identifier: Apache-2.0
# Starts weston on the first DRM card, in place of one that runs, and returns when it listens. Expects
# the driver to be loaded. Other scripts read it in, for the functions.
#   weston.sh [pixman]  weston draws with the processor, and its clients copy into shared memory
#   weston.sh gl        weston draws with GL, by Zink on our device, and takes dma-bufs from clients
export LIBSEAT_BACKEND=builtin SEATD_VTBOUND=0 WAYLAND_DISPLAY=wayland-swede
export WESTON_CONFIG_FILE=/swede/weston.ini

say() {
    read -r uptime _ </proc/uptime
    echo "@@ $* $uptime" | tee /dev/ttyS0
}

# Polls a condition for a minute; without it the guest's logs are shown.
wait_for() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        if [ $tries -gt 600 ] || ! kill -0 $weston 2>/dev/null; then
            tail -n 30 /run/*.log
            say "failed: $*"
            exit 1
        fi
        sleep 0.1
    done
}
weston_listens() { [ -S "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" ]; }
windows_are_at_least() { [ "$(weston-debug scene-graph | grep -c xdg_toplevel)" -ge "$1" ]; }

/usr/lib/systemd/systemd-udevd --daemon
# Only what weston asks udev for: waiting for all of the machine takes seconds when emulated.
udevadm trigger --subsystem-match=drm --settle
killall -q weston && while pidof weston >/dev/null; do sleep 0.1; done
rm -f "$XDG_RUNTIME_DIR/$WAYLAND_DISPLAY" # of one that was killed
renderer=${1:-pixman}
environment=
if [ "$renderer" = gl ]; then
    # The library keeps weston from offering clients what they cannot share (programs/preload).
    environment="LD_PRELOAD=/swede/shareable_formats.so MESA_LOADER_DRIVER_OVERRIDE=zink
        VK_DRIVER_FILES=/usr/share/vulkan/icd.d/gfxstream_vk_icd.json"
fi
# shellcheck disable=SC2086 # words
env $environment \
    weston --backend=drm --drm-device=card0 --renderer="$renderer" --continue-without-input --debug \
    --config=$WESTON_CONFIG_FILE --socket=$WAYLAND_DISPLAY --log=/run/weston.log \
    >/run/weston-clients.log 2>&1 &
weston=$!
wait_for weston_listens
say weston
