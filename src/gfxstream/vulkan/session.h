// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vulkan/vulkan_core.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "gfxstream/color_buffer.h"
#include "gfxstream/host_memory.h"
#include "gfxstream/vulkan/call.h"
#include "gfxstream/vulkan/generated/dispatch.h"
#include "gfxstream/vulkan/handle_table.h"
#include "gfxstream/vulkan/published_blobs.h"

namespace swede::gfxstream::vulkan {

struct DeviceData;  // device_data.h
struct MemoryData;  // resource_data.h
class Host;  // host.h: the loader and the chosen physical device; one for each renderer process

/// What a Session needs of its context. Called from ring threads; thread-safe.
class SessionServices {
  public:
    virtual ~SessionServices() = default;
    /// A resource that is attached to the context; null when it is none, or no colour buffer.
    [[nodiscard]] virtual std::shared_ptr<ColorBuffer> color_buffer(uint32_t resource) = 0;
    [[nodiscard]] virtual const std::shared_ptr<Budget>& budget() = 0;
};

/// A VkFence at one moment: a later reset counts as its signal, as a fence that is pending must not
/// be reset.
struct FenceMark {
    uint64_t fence = 0;  ///< the guest's id; 0: nothing to wait for
    uint32_t resets = 0;
};

/// All Vulkan objects of one virtio context, and the handlers of its commands: those that the
/// generator names `custom` are members, defined by subject in this folder; the others it writes.
/// Shared by the context's ring threads, which call execute() at the same time, and by the waits of
/// exported fences. Destroying it waits until the driver is idle (bounded, then the process is
/// given up) and frees everything; no thread is in one of its calls then.
class Session {
  public:
    /// A wait inside a handler looks whether it was abandoned this often.
    static constexpr std::chrono::milliseconds kSlice{10};
    using Clock = std::chrono::steady_clock;

    [[nodiscard]] static Result<std::shared_ptr<Session>> create(Host& host,
                                                                 SessionServices& services);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Decodes and executes the parameters of one packet (what follows opcode, size and seqno). The
    /// reply is left in `ring`. An Error loses the context.
    [[nodiscard]] Result<void> execute(uint32_t opcode, std::span<const std::byte> parameters,
                                       RingState& ring);

    /// Memory that vkGetBlobGOOGLE published, for RESOURCE_CREATE_BLOB on the control queue.
    [[nodiscard]] Result<std::shared_ptr<HostMemory>> take_blob(uint64_t blob_id, uint64_t size);

    /// For a fence that the guest exports (0xa000): the fence as it is now. Call it when the export
    /// arrives, and wait on any thread later.
    [[nodiscard]] FenceMark mark_fence(uint64_t fence);
    /// Waits at most `limit`. True: signalled, or there is nothing to wait for (unknown id, reset
    /// or destroyed meanwhile, device lost, abandoned: complete at once).
    [[nodiscard]] bool wait_for_fence(const FenceMark& mark, std::chrono::nanoseconds limit);
    [[nodiscard]] bool wait_for_fence(uint64_t fence, std::chrono::nanoseconds limit) {
        return wait_for_fence(mark_fence(fence), limit);
    }

    /// From any thread: waits that handlers are in return within a slice (10 ms), commands fail.
    void abandon() { abandoned_ = true; }
    [[nodiscard]] bool abandoned() const { return abandoned_; }

    [[nodiscard]] HandleTable& table() { return table_; }
    [[nodiscard]] Host& host() { return host_; }

#include "gfxstream/vulkan/generated/session_handlers.inc"  // the custom handlers' declarations

  private:
    Session(Host& host, SessionServices& services);

    /// Enters what a driver's function made; 0, with the handle freed and `result` changed, when
    /// the table is full or the parent has gone.
    [[nodiscard]] uint64_t adopt(ObjectType type, uint64_t made, Object& parent, VkResult& result,
                                 std::unique_ptr<ObjectData> data = nullptr);

    /// Host memory that the driver takes for an object (costs.h). False: over the guest's budget,
    /// and `charge` is as it was. What `charge` held before is given back.
    [[nodiscard]] bool pay(uint64_t bytes, Budget::Charge& charge);

    // devices.cpp
    [[nodiscard]] bool add_queues(Object& device,
                                  std::span<const VkDeviceQueueCreateInfo> families);

    // queues.cpp
    template <typename Info, typename Function>
    [[nodiscard]] VkResult submit(Call& call, Object& queue, std::span<const Info> submits,
                                  Object* fence, Function DeviceFunctions::* function);
    /// `ends`: of the part of `call.ring.held` that each batch uses.
    template <typename Info, typename Function>
    [[nodiscard]] VkResult submit_prepared(Call& call, Object& queue, std::span<const Info> submits,
                                           std::span<const size_t> ends, Object* fence,
                                           Function DeviceFunctions::* function);
    [[nodiscard]] VkResult hold_fence(Call& call, Object& fence);

    // work.cpp
    /// What becomes of submissions that are not done.
    enum class Unfinished : uint8_t {
        kKeep,
        kClose,  ///< they have no end any more; the queue takes no others
    };
    /// Ends what a submission (queues.cpp) holds: a pin, and a use of command buffers and fences.
    void let_go(Object& object);
    void let_go_of_finished(Object& queue, Unfinished unfinished);
    void let_go_of_finished_work(Object& device, Unfinished unfinished);
    template <typename Visit>
    void for_each_queue(Object& device, Visit&& visit);
    /// A slice at most.
    void wait_for_some_work(Object& device);
    /// Until `done()`, which submissions that are not done keep from being true. False: the context
    /// ends. No lock of a pool is held.
    template <typename Done>
    [[nodiscard]] bool wait_for_work(Object& device, Done&& done) {
        let_go_of_finished_work(device, Unfinished::kKeep);
        while (!done()) {
            if (must_return()) return false;
            wait_for_some_work(device);
            let_go_of_finished_work(device, Unfinished::kKeep);
        }
        return true;
    }
    /// Until all that was submitted is done. `lost`: what ends it with VK_ERROR_DEVICE_LOST.
    [[nodiscard]] VkResult wait_until_idle(Object& queue, Clock::time_point deadline,
                                           std::atomic<bool> DeviceData::* lost);
    [[nodiscard]] VkResult wait_until_device_is_idle(Object& device, Clock::time_point deadline,
                                                     std::atomic<bool> DeviceData::* lost);
    /// The same before it goes: nothing is submitted any more.
    [[nodiscard]] VkResult close_device(Object& device, Clock::time_point deadline);
    [[nodiscard]] VkResult close_devices(Object& instance, Clock::time_point deadline);
    /// Signals the timeline semaphores that submissions wait for, where no submission does.
    void end_waits(Object& instance);
    template <typename Visit>
    void for_each_device(Object& instance, Visit&& visit);

    // sync.cpp
    /// Until `deadline`; VK_TIMEOUT when it passed, VK_ERROR_DEVICE_LOST when abandoned.
    [[nodiscard]] VkResult wait_for_fences(Object& device, std::span<const VkFence> fences,
                                           bool all, Clock::time_point deadline);

    // memory.cpp
    /// `blob_id`: the guest's name for it; none: it is never mapped.
    [[nodiscard]] VkResult allocate_shared(Object& device, const VkMemoryAllocateInfo& info,
                                           std::optional<uint64_t> blob_id, uint64_t& memory);
    [[nodiscard]] VkResult import_color_buffer(Object& device, VkMemoryAllocateInfo info,
                                               uint32_t resource, uint64_t& memory);
    [[nodiscard]] VkResult import_memory(Object& device, VkMemoryAllocateInfo info,
                                         std::unique_ptr<MemoryData> data, uint64_t& memory);
    [[nodiscard]] VkResult allocate_local(Object& device, const VkMemoryAllocateInfo& info,
                                          uint64_t& memory);

    // images.cpp
    [[nodiscard]] VkResult create_image(Object& device, const VkImageCreateInfo& info,
                                        uint64_t& image, VkMemoryRequirements* requirements);
    [[nodiscard]] VkResult bind_image(Call& call, Object& device,
                                      const VkBindImageMemoryInfo& info);
    void restrict_types(VkMemoryRequirements& requirements, bool importable) const;

    // render_passes.cpp
    template <typename Info, typename Function>
    [[nodiscard]] VkResult create_render_pass(Object& device, const Info& info, uint64_t& made,
                                              Function DeviceFunctions::* function);

    // pipelines.cpp
    [[nodiscard]] bool keep_in(Object& cache, uint64_t bytes);
    void take_out_of(Object& cache, uint64_t bytes);
    template <typename Info, typename Function>
    [[nodiscard]] VkResult create_pipelines(Call& call, Object& device, Object* cache,
                                            std::span<const Info> infos, uint64_t* ids,
                                            Function DeviceFunctions::* function);

    // command_buffers.cpp
    [[nodiscard]] bool run_recorded(Call& call, Object& command_buffer,
                                    std::span<const std::byte> commands);

    /// True when a wait must end whatever it waits for.
    [[nodiscard]] bool must_return() const { return abandoned_ && !closing_; }

    Host& host_;
    SessionServices& services_;
    std::atomic<bool> abandoned_ = false;
    bool closing_ = false;  ///< in the destructor, where nobody else is here
    std::mutex instances_mutex_;
    std::vector<uint64_t> instances_;  ///< ids, guarded by instances_mutex_
    PublishedBlobs blobs_;  ///< before table_: memory objects take themselves out when they go
    HandleTable table_;
};

}  // namespace swede::gfxstream::vulkan
