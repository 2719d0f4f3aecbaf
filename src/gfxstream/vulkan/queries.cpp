// SPDX-License-Identifier: Apache-2.0
// Query pools. How much a driver writes follows from the pool, not from the buffer that the guest
// gives, so that it is counted here.
#include <bit>
#include <chrono>
#include <thread>

#include "base/checked.h"
#include "gfxstream/vulkan/costs.h"
#include "gfxstream/vulkan/handlers.h"
#include "gfxstream/vulkan/session.h"

namespace swede::gfxstream::vulkan {
namespace {

struct QueryPoolData : ObjectData {
    uint32_t count = 0;
    uint32_t values = 1;  ///< of one query, without availability
    Budget::Charge charge;
};

/// 0: not a type that guests are offered.
uint32_t values_of(const VkQueryPoolCreateInfo& info) {
    switch (info.queryType) {
        case VK_QUERY_TYPE_OCCLUSION:
        case VK_QUERY_TYPE_TIMESTAMP:
        case VK_QUERY_TYPE_PRIMITIVES_GENERATED_EXT:
            return 1;
        case VK_QUERY_TYPE_TRANSFORM_FEEDBACK_STREAM_EXT:
            return 2;
        case VK_QUERY_TYPE_PIPELINE_STATISTICS:
            return static_cast<uint32_t>(std::popcount(info.pipelineStatistics));
        default:
            return 0;
    }
}

constexpr uint32_t kMaxQueries = 1 << 20;
/// VK_QUERY_PIPELINE_STATISTIC_*: those that no extension adds. A driver reads a value for each
/// bit.
constexpr VkFlags kStatistics =
    (VkFlags{VK_QUERY_PIPELINE_STATISTIC_COMPUTE_SHADER_INVOCATIONS_BIT} << 1) - 1;
constexpr std::chrono::microseconds kFirstPause{20};

}  // namespace

VkResult Session::vkCreateQueryPool(Call&, Object& device, const VkQueryPoolCreateInfo* pCreateInfo,
                                    uint64_t* pQueryPool) {
    VkQueryPoolCreateInfo info = *pCreateInfo;
    info.pNext = nullptr;
    auto data = std::make_unique<QueryPoolData>();
    data->count = info.queryCount;
    data->values = values_of(info);
    if (info.queryType == VK_QUERY_TYPE_PIPELINE_STATISTICS &&
        (info.pipelineStatistics & ~kStatistics) != 0)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (data->values == 0 || info.queryCount == 0 || info.queryCount > kMaxQueries)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!pay(info.queryCount * cost::kQuery, data->charge)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkQueryPool made = VK_NULL_HANDLE;
    VkResult result =
        functions_of(device).vkCreateQueryPool(device.as<VkDevice>(), &info, nullptr, &made);
    if (result != VK_SUCCESS) return result;
    *pQueryPool = adopt(ObjectType::kQueryPool, raw(made), device, result, std::move(data));
    return result;
}

void Session::vkResetQueryPool(Call& call, Object& device, Object& queryPool, uint32_t firstQuery,
                               uint32_t queryCount) {
    const auto function = functions_of(device).vkResetQueryPool;
    const uint32_t all = queryPool.get<QueryPoolData>().count;
    if (function == nullptr || !range_fits(firstQuery, queryCount, all)) {
        call.in.fail("{} queries of {} are reset, from {} on.", queryCount, all, firstQuery);
        return;
    }
    function(device.as<VkDevice>(), queryPool.as<VkQueryPool>(), firstQuery, queryCount);
}

VkResult Session::vkGetQueryPoolResults(Call& call, Object& device, Object& queryPool,
                                        uint32_t firstQuery, uint32_t queryCount, size_t dataSize,
                                        void* pData, VkDeviceSize stride,
                                        VkQueryResultFlags flags) {
    const auto& pool = queryPool.get<QueryPoolData>();
    if (queryCount == 0) return VK_SUCCESS;
    const uint64_t value_size = (flags & VK_QUERY_RESULT_64_BIT) != 0 ? 8 : 4;
    const uint64_t values = pool.values + ((flags & (VK_QUERY_RESULT_WITH_AVAILABILITY_BIT |
                                                     VK_QUERY_RESULT_WITH_STATUS_BIT_KHR)) != 0
                                               ? 1
                                               : 0);
    const auto last = checked_mul<uint64_t>(stride, queryCount - 1);
    if (pData == nullptr || !last || !range_fits(*last, values * value_size, dataSize) ||
        !range_fits(firstQuery, queryCount, pool.count) || stride % value_size != 0) {
        call.in.fail("{} results of {} queries are to go into {} bytes.", queryCount, pool.count,
                     dataSize);
        return VK_ERROR_UNKNOWN;
    }
    // A wait inside the driver could not be ended.
    DeviceData& data = device_data(device);
    const bool wait = (flags & VK_QUERY_RESULT_WAIT_BIT) != 0;
    const VkQueryResultFlags once = flags & ~VkQueryResultFlags{VK_QUERY_RESULT_WAIT_BIT};
    auto pause = kFirstPause;
    for (;;) {
        const VkResult result =
            data.vk.vkGetQueryPoolResults(device.as<VkDevice>(), queryPool.as<VkQueryPool>(),
                                          firstQuery, queryCount, dataSize, pData, stride, once);
        if (result != VK_NOT_READY || !wait) return result;
        if (data.lost || must_return()) return VK_ERROR_DEVICE_LOST;
        std::this_thread::sleep_for(pause);
        pause = std::min<std::chrono::microseconds>(pause * 2, std::chrono::milliseconds(2));
    }
}

}  // namespace swede::gfxstream::vulkan
