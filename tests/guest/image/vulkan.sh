# SPDX-License-Identifier: Apache-2.0
# Runs a Vulkan program with one driver alone: vulkan.sh gfxstream|lavapipe COMMAND...
# vulkan.sh DRIVER cube FRAMES runs vkcube on weston for that many frames, and says how long it took.
case $1 in
gfxstream) export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/gfxstream_vk_icd.json ;;
lavapipe) export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json ;;
*)
    echo "no driver: $1"
    exit 2
    ;;
esac
export WAYLAND_DISPLAY=wayland-swede
shift
if [ "$1" != cube ]; then
    exec "$@"
fi
now() { read -r seconds _ </proc/uptime && echo "$seconds"; }
start=$(now)
# Immediate presentation: vkcube waits for no refresh of the screen.
vkcube --wsi wayland --present_mode 0 --suppress_popups --c "$2" || exit
echo "frames=$2 start=$start end=$(now)"
