// SPDX-License-Identifier: Apache-2.0
// Private data. Mesa 25.0.7 sends the object as its own pointer, which is no id of ours: the values
// are kept by what it sends, and no driver sees them.
#include <map>
#include <mutex>
#include <utility>

#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

constexpr size_t kMaxValues = 65536;  ///< of one slot

struct PrivateDataSlotData : ObjectData {
    std::mutex mutex;
    std::map<std::pair<VkObjectType, uint64_t>, uint64_t> values;  ///< guarded by mutex
};

}  // namespace

VkResult Session::vkCreatePrivateDataSlot(Call&, Object& device, const VkPrivateDataSlotCreateInfo*,
                                          uint64_t* pPrivateDataSlot) {
    VkResult result = VK_SUCCESS;
    *pPrivateDataSlot = adopt(ObjectType::kPrivateDataSlot, 0, device, result,
                              std::make_unique<PrivateDataSlotData>());
    return result;
}

void Session::vkDestroyPrivateDataSlot(Call&, Object&, Object* privateDataSlot) {
    if (privateDataSlot != nullptr) table_.remove(privateDataSlot->id, privateDataSlot->type);
}

VkResult Session::vkSetPrivateData(Call&, Object&, VkObjectType objectType, uint64_t objectHandle,
                                   Object& privateDataSlot, uint64_t data) {
    auto& slot = privateDataSlot.get<PrivateDataSlotData>();
    const std::lock_guard lock(slot.mutex);
    const auto key = std::pair(objectType, objectHandle);
    if (data == 0) {  // what an object has that was never given any
        slot.values.erase(key);
        return VK_SUCCESS;
    }
    if (slot.values.size() >= kMaxValues && !slot.values.contains(key))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    slot.values[key] = data;
    return VK_SUCCESS;
}

void Session::vkGetPrivateData(Call&, Object&, VkObjectType objectType, uint64_t objectHandle,
                               Object& privateDataSlot, uint64_t* pData) {
    auto& slot = privateDataSlot.get<PrivateDataSlotData>();
    const std::lock_guard lock(slot.mutex);
    const auto found = slot.values.find({objectType, objectHandle});
    *pData = found != slot.values.end() ? found->second : 0;
}

}  // namespace swede::gfxstream::vulkan
