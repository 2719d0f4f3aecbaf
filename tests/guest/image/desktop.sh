# SPDX-License-Identifier: Apache-2.0
# Starts weston on the first DRM card, with a terminal and a few clients, and says '@@ desktop' when
# all of their windows are on its screen. Expects the driver to be loaded.
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
terminal_has_greeted() { [ -e /run/greeted ]; }

/usr/lib/systemd/systemd-udevd --daemon
# Only what weston asks udev for: waiting for all of the machine takes seconds when emulated.
udevadm trigger --subsystem-match=drm --settle
weston --backend=drm --drm-device=card0 --renderer=pixman --continue-without-input --debug \
    --config=$WESTON_CONFIG_FILE --socket=$WAYLAND_DISPLAY --log=/run/weston.log &
weston=$!
wait_for weston_listens
say weston
weston-terminal --shell=/swede/greeting.sh >/run/terminal.log 2>&1 &
wait_for windows_are_at_least 1 # first, so that the small windows come to lie above it
for client in flower simple-shm clickdot eventdemo; do
    weston-$client >/run/$client.log 2>&1 &
done
wait_for windows_are_at_least 5
wait_for terminal_has_greeted
sleep 0.5 # what the clients drew last reaches the screen with the next frames
say desktop
