// SPDX-License-Identifier: Apache-2.0
#include "gfxstream/vulkan/command_data.h"

namespace swede::gfxstream::vulkan {
namespace {

std::atomic<uint64_t> last_recording = 0;

/// Vulkan lets these go while a recording that named them is still to run; drivers keep what they
/// need of them. ("VkPipelineLayout must not be destroyed while any command buffer that uses it is
/// in the recording state", and no more than that.)
bool may_go_first(ObjectType type) {
    return type == ObjectType::kPipelineLayout || type == ObjectType::kDescriptorSetLayout ||
           type == ObjectType::kDescriptorUpdateTemplate;
}

void unpin_all(HandleTable& table, std::vector<Object*>& objects) {
    while (!objects.empty()) {
        Object* const object = objects.back();
        objects.pop_back();
        table.unpin(object);
    }
}

}  // namespace

bool CommandBufferData::start_again(Recording state) {
    const std::lock_guard lock(mutex_);
    if (in_use()) return false;
    state_ = state;
    recording_ = ++last_recording;
    named_.clear();
    secondaries_.clear();
    return true;
}

void CommandBufferData::name(std::span<Object* const> objects) {
    const uint64_t recording = recording_.load(std::memory_order_relaxed);
    for (Object* const object : objects) {
        if (object->named_by.load(std::memory_order_relaxed) == recording) continue;
        if (object->type == ObjectType::kCommandBuffer || may_go_first(object->type)) continue;
        object->named_by.store(recording, std::memory_order_relaxed);
        named_.push_back(object->id);
    }
}

uint64_t CommandBufferData::start_reading() {
    const std::lock_guard lock(mutex_);
    if (state_ != Recording::kExecutable || !pool_.start_use()) return 0;
    ++readers_;
    return recording_;
}

bool CommandBufferData::start_use(HandleTable& table, uint64_t recording) {
    std::vector<Object*> useless;
    {
        const std::lock_guard lock(mutex_);
        if (state_ != Recording::kExecutable || (recording != 0 && recording != recording_))
            return false;
        if (users_ == 0) {
            held_.reserve(named_.size());
            for (const uint64_t id : named_) {
                Object* const object = table.pin(HandleTable::type_of(id), id);
                if (object == nullptr) break;
                held_.push_back(object);
            }
        }
        if (held_.size() == named_.size() && pool_.start_use()) {
            ++users_;
            return true;
        }
        if (users_ == 0) useless.swap(held_);
    }
    unpin_all(table, useless);  // may call the driver, which takes the locks of pools
    return false;
}

void CommandBufferData::end_use(HandleTable& table) {
    std::vector<Object*> held;
    {
        const std::lock_guard lock(mutex_);
        if (users_ == 1) held.swap(held_);
        --users_;
        pool_.end_use();
    }
    unpin_all(table, held);
    const std::lock_guard lock(mutex_);
    if (users_ == 0 && held_.capacity() < held.capacity()) held_.swap(held);  // its memory
}

}  // namespace swede::gfxstream::vulkan
