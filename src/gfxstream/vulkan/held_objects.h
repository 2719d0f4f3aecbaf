// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "gfxstream/vulkan/handle_table.h"
#include "gfxstream/vulkan/object.h"

namespace swede::gfxstream::vulkan {

/// Objects that another one is made of (a view's image): drivers follow pointers to them for as
/// long as it is there. Lives in that object's data.
class HeldObjects {
  public:
    explicit HeldObjects(HandleTable& table) : table_(table) {}
    ~HeldObjects() {
        for (Object* const object : objects_) table_.unpin(object);
    }
    HeldObjects(const HeldObjects&) = delete;
    HeldObjects& operator=(const HeldObjects&) = delete;

    /// `object` is pinned by the caller. False: it was removed meanwhile.
    [[nodiscard]] bool hold(const Object& object) {
        Object* const held = table_.pin(object.type, object.id);
        if (held != nullptr) objects_.push_back(held);
        return held != nullptr;
    }

  private:
    HandleTable& table_;
    std::vector<Object*> objects_;
};

struct MadeOfOthers : ObjectData {
    explicit MadeOfOthers(HandleTable& table) : others(table) {}
    HeldObjects others;
};

}  // namespace swede::gfxstream::vulkan
