// SPDX-License-Identifier: Apache-2.0
// A hostile driver, and a renderer that answers as it likes: the input is a sequence of steps, most
// of them commands after the table, which go through real virtqueues onto a whole device.
// Parsers: src/virtio_gpu/processor.cpp src/virtio_gpu/resource_commands.cpp
// Parsers: src/virtio_gpu/display_commands.cpp src/virtio_gpu/context_commands.cpp
// Parsers: src/virtio_gpu/blob_commands.cpp src/virtio_gpu/blob_mapper.cpp
// Parsers: src/virtio_gpu/window_ranges.cpp src/virtio_gpu/command_scheduler.cpp
// Parsers: src/virtio_gpu/scanouts.cpp src/virtio_gpu/cursor.cpp
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <map>

#include "base/log.h"
#include "require.h"
#include "small_limits.h"
#include "unit/virtio_gpu/harness.h"
#include "unit/virtio_gpu/mapped_window.h"
#include "virtio_gpu/command_table.h"

namespace {

using namespace swede;
using namespace swede::virtio_gpu;
using fuzz::require;
using virtio_gpu::testing::Harness;
using virtio_gpu::testing::Header;

/// Takes numbers from the front of the input; 0 when it is used up.
class Input {
  public:
    explicit Input(std::span<const uint8_t> bytes) : bytes_(bytes) {}

    [[nodiscard]] bool empty() const { return bytes_.empty(); }
    uint8_t byte() { return static_cast<uint8_t>(number(1)); }
    uint32_t number(size_t size) {
        uint32_t value = 0;
        for (size_t i = 0; i < size && !bytes_.empty(); ++i) {
            value |= uint32_t{bytes_[0]} << (8 * i);
            bytes_ = bytes_.subspan(1);
        }
        return value;
    }
    /// A word of a request: mostly small, as ids and sizes are.
    uint32_t word() {
        const uint8_t kind = byte();
        switch (kind) {
            case 0xff:
                return number(4);
            case 0xfe:
                return uint32_t{byte()} * 4096;
            case 0xfd:
                return number(2);
            case 0xfc:
                return ~uint32_t{0} - byte();
            default:
                return kind;
        }
    }
    std::vector<std::byte> bytes(size_t size) {
        size = std::min(size, bytes_.size());
        const auto head = std::as_bytes(bytes_.first(size));
        bytes_ = bytes_.subspan(size);
        return {head.begin(), head.end()};
    }

  private:
    std::span<const uint8_t> bytes_;
};

Harness::Setup setup(uint8_t kind) {
    Harness::Setup setup;
    setup.outputs.assign(1 + kind % 3, OutputSize{64, 64, true});
    setup.renderer = (kind & 4) == 0;
    if ((kind & 128) != 0) setup.features = 0;
    setup.queue_size = 64;
    setup.ram = 2 << 20;
    setup.limits = fuzz::limits_with({{BudgetKind::kHostBytes, 1 << 20},
                                      {BudgetKind::kResources, 24},
                                      {BudgetKind::kContexts, 4},
                                      {BudgetKind::kBackingSegments, 64},
                                      {BudgetKind::kMappings, 6},
                                      {BudgetKind::kPendingFences, (kind & 16) == 0 ? 64 : 3},
                                      {BudgetKind::kPendingCommands, (kind & 32) == 0 ? 64 : 3}});
    return setup;
}

std::unique_ptr<HostVisibleWindow> window(uint8_t kind) {
    constexpr uint64_t kSize = 16 * 4096;
    if ((kind & 64) != 0) return std::make_unique<testing::MappedWindow>(kSize);
    if ((kind & 8) != 0) return std::make_unique<NoWindow>();
    return StaticWindow::create(kSize).value();
}

class Run {
  public:
    Run(uint8_t kind, Input& input) : input_(input), gpu_(setup(kind), window(kind)) {}

    void step() {
        switch (input_.byte() % 20) {
            default:
                return command();
            case 10:
                return gpu_.turn();
            case 11:
                return raw();
            case 12:
                return answer();
            case 13:
                return change_renderer();
            case 14:
                return report();
            case 15:
                return reset();
            case 16:
                return configure();
            case 17:
                return plug();
            case 18:
                return look();
            case 19:
                return pages();
        }
    }

    /// Lets everything that is out end, and sees that all of it did.
    void end() {
        if (!plugged_) plug();
        if (gpu_.renderer != nullptr) {
            gpu_.renderer->held.clear();
            gpu_.renderer->fences_at_once = true;
        }
        for (int round = 0; round < 100; ++round) {
            settle();
            if (gpu_.renderer == nullptr) break;
            gpu_.renderer->answer_all();
            complete_fences();
        }
        const Census census = gpu_.device->census();
        require(census.pending_commands == 0);
        require(census.pending_fences == 0);
        // The driver of this program keeps the rules, so no queue may be called broken.
        require(!gpu_.device->queues()[wire::kControlQueue].broken());
        require(!gpu_.device->queues()[wire::kCursorQueue].broken());
        require(sent_.empty());
        reset();
        const Census after = gpu_.device->census();
        require(after.resources == 0 && after.contexts == 0 && after.mappings == 0);
        require(after.host_bytes == 0);
        for (const auto& [scanout, frame] : gpu_.sink.frames) require(frame == nullptr);
    }

  private:
    struct Sent {
        wire::ControlHeader header;
        uint32_t room;  ///< bytes
    };
    using Key = std::pair<uint16_t, uint16_t>;  ///< queue and head

    void command() {
        const auto table = command_table();
        const CommandInfo& info = table[input_.byte() % table.size()];
        const uint8_t shape = input_.byte();
        Header header{.type = info.type};
        header.ctx_id = input_.byte() % 4;
        if ((shape & 1) != 0) {
            header.flags = wire::kFlagFence | ((shape & 2) != 0 ? wire::kFlagInfoRingIdx : 0);
            header.fence_id = input_.byte();
            header.ring_idx = input_.byte() % 4;
        }
        auto bytes = Harness::request(header);
        for (uint32_t at = 0; at < info.request_size; at += 4) {
            const uint32_t word = input_.word();
            const auto raw = bytes_of(word);
            bytes.insert(bytes.end(), raw.begin(), raw.end());
        }
        if ((shape & 4) != 0) {  // entries of guest memory
            const uint8_t count = input_.byte() % 8;
            for (uint8_t i = 0; i < count; ++i) {
                const uint64_t page = input_.byte() * uint64_t{4096};
                const wire::MemEntry entry{gpu_.guest.base() + page, input_.word(), 0};
                const auto raw = bytes_of(entry);
                bytes.insert(bytes.end(), raw.begin(), raw.end());
            }
        }
        if ((shape & 8) != 0) {
            const auto more = input_.bytes(input_.byte());
            bytes.insert(bytes.end(), more.begin(), more.end());
        }
        if ((shape & 16) != 0) bytes.resize(input_.byte() % (bytes.size() + 1));
        constexpr std::array<uint32_t, 4> kRooms{2048, 24, 408, 0};
        const uint32_t room = (shape & 32) != 0 ? input_.byte() : kRooms[shape >> 6];
        const bool other_queue = room == 7;
        const bool on_cursor = (info.queue == wire::kCursorQueue) != other_queue;
        offer(on_cursor ? wire::kCursorQueue : wire::kControlQueue, bytes, room);
    }

    void raw() {
        const uint16_t queue = input_.byte() % 2;
        const uint32_t room = input_.number(2) % 4096;
        offer(queue, input_.bytes(input_.byte()), room);
    }

    void offer(uint16_t queue, std::span<const std::byte> bytes, uint32_t room) {
        if (bytes.empty() && room == 0) return;  // a driver has nothing to offer then
        auto& driver = driver_of(queue);
        if (driver.free_descriptors() < 2) settle();
        const auto head = driver.add_request(bytes, room);
        if (!head) return;
        Sent sent{{}, room};
        if (!bytes.empty())
            std::memcpy(&sent.header, bytes.data(), std::min(bytes.size(), sizeof(sent.header)));
        if (bytes.size() < sizeof(sent.header)) sent.room = 0;  // it can get no answer
        require(sent_.emplace(Key{queue, *head}, sent).second);
        gpu_.kick(queue);
        collect(queue);
    }

    virtio::testing::DriverQueue& driver_of(uint16_t queue) {
        return queue == wire::kControlQueue ? *gpu_.control : *gpu_.cursor;
    }

    void collect(uint16_t queue) {
        while (const auto used = driver_of(queue).take_used()) {
            const auto found = sent_.find({queue, used->head});
            require(found != sent_.end());  // once each
            const Sent sent = found->second;
            sent_.erase(found);
            if (used->written == 0) {
                // Nothing was written where there was room: memory was away at that time.
                require(sent.room < sizeof(wire::ControlHeader) || was_away_);
                continue;
            }
            require(used->written >= sizeof(wire::ControlHeader) && used->written <= sent.room);
            wire::ControlHeader header;
            std::memcpy(&header, used->response.data(), sizeof(header));
            require((header.type >= wire::kRespOkNodata && header.type <= wire::kRespOkMapInfo) ||
                    (header.type >= wire::kRespErrUnspec &&
                     header.type <= wire::kRespErrInvalidParameter));
            const bool fenced = (sent.header.flags & wire::kFlagFence) != 0;
            require(((header.flags & wire::kFlagFence) != 0) == fenced);
            require(header.fence_id == (fenced ? sent.header.fence_id : 0));
            require(header.padding[0] == 0 && header.padding[1] == 0 && header.padding[2] == 0);
        }
    }

    void settle() {
        for (const uint16_t queue : {wire::kControlQueue, wire::kCursorQueue}) {
            gpu_.kick(queue);
            gpu_.turn();
            collect(queue);
        }
    }

    void answer() {
        if (gpu_.renderer == nullptr) return;
        if (input_.byte() % 4 == 0)
            gpu_.renderer->drop_all();
        else
            gpu_.renderer->answer_all();
        settle();
    }

    void change_renderer() {
        if (gpu_.renderer == nullptr) return;
        static constexpr std::array<const char*, 12> kCalls{
            "create_context",   "destroy_context", "create_blob",        "create_3d",
            "destroy_resource", "export_blob",     "place_blob",         "displace_blob",
            "transfer_to_host", "submit",          "transfer_from_host", "reset"};
        const uint8_t which = input_.byte();
        const std::string call = kCalls[which % kCalls.size()];
        gpu_.renderer->fences_at_once = (which & 0x80) == 0;
        switch (input_.byte() % 4) {
            case 0:
                gpu_.renderer->held.insert(call);
                break;
            case 1:
                gpu_.renderer->held.erase(call);
                break;
            case 2:
                gpu_.renderer->failing[call] = {static_cast<ErrorCode>(input_.byte() % 12), "no"};
                break;
            default:
                gpu_.renderer->failing.erase(call);
        }
    }

    void report() {
        if (gpu_.renderer == nullptr) return;
        const uint8_t what = input_.byte();
        const auto& fences = gpu_.renderer->state.fences;
        if (what % 4 == 0)
            gpu_.renderer->sink().context_lost(what / 4 % 4, {ErrorCode::kDeviceLost, "lost"});
        else if (what % 4 == 1)
            gpu_.renderer->sink().fence_done(what);  // perhaps not its own
        else if (!fences.empty())
            gpu_.renderer->sink().fence_done(fences[what % fences.size()].ticket);
        settle();
    }

    void complete_fences() {
        for (const auto& fence : gpu_.renderer->state.fences)
            gpu_.renderer->sink().fence_done(fence.ticket);
    }

    void reset() {
        bool done = false;
        gpu_.device->reset([&done] { done = true; });
        for (int round = 0; round < 10 && !done; ++round) {
            gpu_.turn();
            if (gpu_.renderer != nullptr) gpu_.renderer->answer_all();
        }
        require(done);
        sent_.clear();
        if (gpu_.renderer != nullptr) gpu_.renderer->state.fences.clear();
        if (!plugged_) plug();
        gpu_.device->set_features(gpu_.device->features());
        gpu_.control->attach();
        gpu_.cursor->attach();
    }

    void configure() {
        const OutputSize size{input_.word(), input_.word(), input_.byte() % 2 == 0};
        (void)gpu_.device->set_output(input_.byte() % 4, size);
        const uint32_t offset = input_.word();
        const auto bytes = input_.bytes(input_.byte() % 32);
        gpu_.device->write_config(offset, bytes);
        std::vector<std::byte> to(bytes.size());
        gpu_.device->read_config(offset, to);
    }

    void plug() {
        was_away_ = true;
        if (plugged_)
            gpu_.guest.unplug();
        else
            gpu_.guest.plug();
        plugged_ = !plugged_;
    }

    /// What a display does, at any time.
    void look() {
        std::vector<std::byte> row;
        for (const auto& [scanout, frame] : gpu_.sink.frames) {
            if (frame == nullptr) continue;
            row.resize(size_t{frame->width()} * rutabaga::kBytesPerPixel);
            (void)frame->read({0, frame->height() - 1, frame->width(), 1}, row.data(), row.size());
        }
        gpu_.sink.flushes.clear();
    }

    /// The guest writes to its memory and to the window.
    void pages() {
        const uint64_t at = input_.byte() * uint64_t{4096};
        const auto bytes = input_.bytes(input_.byte());
        if (at + bytes.size() < gpu_.guest.size() / 2)  // the rings lie in the first pages
            gpu_.guest.fill(gpu_.guest.base() + gpu_.guest.size() / 2 + at, bytes);
    }

    Input& input_;
    Harness gpu_;
    std::map<Key, Sent> sent_;  ///< and not answered
    bool plugged_ = true;
    bool was_away_ = false;  ///< guest memory was unplugged at some time
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    ::setenv("SWEDE_LOG", "off", 1);  // else the time goes into warnings
    log::start();
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Input input({data, size});
    Run run(input.byte(), input);
    for (int steps = 0; steps < 300 && !input.empty(); ++steps) run.step();
    run.end();
    return 0;
}
