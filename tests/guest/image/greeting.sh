#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the demo's terminal shows.
export PS1='guest# '
uname -a
dmesg | grep -E '\[drm\]' | cut -c 16-
modetest -M virtio_gpu -c 2>/dev/null | head -n 8
exec sh -i
