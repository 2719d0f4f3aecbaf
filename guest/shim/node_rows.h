// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/mman.h>

#include "drm_abi.h"
#include "node.h"

/// What node.cpp and node_ioctls.cpp share. Included by them only.
namespace swede::shim {

inline constexpr uint32_t kCapsetGfxstream = 3;
inline constexpr uint32_t kBlobHost3d = 2;

/// A row of the table of ioctls.
struct Node::Row {
    uint32_t number;  ///< _IOC_NR
    size_t size;      ///< bytes of the structure at its longest
    int (Node::*handler)(void* argument);
};

}  // namespace swede::shim
