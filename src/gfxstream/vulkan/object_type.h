// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gfxstream/vulkan/generated/object_type.h"
