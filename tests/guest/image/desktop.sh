# SPDX-License-Identifier: Apache-2.0
# Starts weston with a terminal and a few clients, and says '@@ desktop' when all of their windows
# are on its screen.
. /swede/weston.sh
terminal_has_greeted() { [ -e /run/greeted ]; }

weston-terminal --shell=/swede/greeting.sh >/run/terminal.log 2>&1 &
wait_for windows_are_at_least 1 # first, so that the small windows come to lie above it
for client in flower simple-shm clickdot eventdemo; do
    weston-$client >/run/$client.log 2>&1 &
done
wait_for windows_are_at_least 5
wait_for terminal_has_greeted
sleep 0.5 # what the clients drew last reaches the screen with the next frames
say desktop
