// SPDX-License-Identifier: Apache-2.0
// Private data. Mesa 25.0.7 sends the object as its own pointer, which is no id of ours: the values
// are kept by what it sends, and no driver sees them.
#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "base/budget.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

// Of one slot. They are paid for ahead, twice as many each time.
constexpr size_t kFewValues = 64;
constexpr size_t kMaxValues = 65536;

struct PrivateDataSlotData : ObjectData {
    std::mutex mutex;
    // Guarded by mutex:
    size_t paid = 0;  ///< values
    Budget::Charge charge;
    std::map<std::pair<VkObjectType, uint64_t>, uint64_t> values;
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
    if (const auto found = slot.values.find(key); found != slot.values.end()) {
        found->second = data;
        return VK_SUCCESS;
    }
    if (slot.values.size() == slot.paid) {
        const size_t wanted = std::max(kFewValues, slot.paid * 2);
        if (wanted > kMaxValues || !pay(wanted * cost::kPrivateValue, slot.charge))
            return VK_ERROR_OUT_OF_HOST_MEMORY;
        slot.paid = wanted;
    }
    slot.values.emplace(key, data);
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
