# SPDX-License-Identifier: Apache-2.0
# What a guest does when nobody told it otherwise: load the driver, then obey ttyS1 if the kernel
# command line says swede.agent, else show what the driver found and stop.
modprobe virtio_gpu
dmesg | grep -E '\[drm\]|virtio_gpu'
if grep -q swede.agent /proc/cmdline; then
    exec sh /swede/agent.sh
fi
modetest -M virtio_gpu -c | head -n 12
