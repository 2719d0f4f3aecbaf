# SPDX-License-Identifier: Apache-2.0
# Starts weston on the first DRM card, with a terminal and a few clients, and says '@@ desktop' when
# weston has a window of each on its screen. Expects the driver to be loaded.
WINDOWS=4
/usr/lib/systemd/systemd-udevd --daemon
# Only what weston asks udev for: waiting for all of the machine takes seconds when emulated.
udevadm trigger --subsystem-match=drm --settle
export LIBSEAT_BACKEND=builtin SEATD_VTBOUND=0 WAYLAND_DISPLAY=wayland-swede XCURSOR_SIZE=24
weston --backend=drm --drm-device=card0 --renderer=pixman --continue-without-input --debug \
    --config=/swede/weston.ini --socket=$WAYLAND_DISPLAY --log=/run/weston.log &
weston=$!
until [ -S $XDG_RUNTIME_DIR/$WAYLAND_DISPLAY ]; do
    if ! kill -0 $weston 2>/dev/null; then
        cat /run/weston.log
        echo "@@ weston failed"
        exit 1
    fi
    sleep 0.05
done
read -r uptime _ </proc/uptime
echo "@@ weston $uptime"
weston-terminal --shell=/swede/greeting.sh >/run/terminal.log 2>&1 &
weston-flower >/run/flower.log 2>&1 &
weston-simple-shm >/run/simple-shm.log 2>&1 &
weston-smoke >/run/smoke.log 2>&1 &
tries=0
while :; do
    windows=$(weston-debug scene-graph 2>/run/debug.log | tee /run/scene | grep -c 'xdg_toplevel')
    [ "$windows" -ge $WINDOWS ] && break
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then
        cat /run/*.log /run/scene
        echo "@@ clients failed: $windows of $WINDOWS windows"
        exit 1
    fi
    sleep 0.1
done
read -r uptime _ </proc/uptime
echo "@@ desktop $uptime"
