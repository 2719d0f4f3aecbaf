// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "unit/virtio/driver.h"
#include "unit/virtio_gpu/fake_renderer.h"
#include "virtio_gpu/gpu_device.h"
#include "virtio_gpu/no_window.h"
#include "virtio_gpu/static_window.h"

namespace swede::virtio_gpu::testing {

/// A command's header; fields that are not named are 0.
struct Header {
    uint32_t type = 0;
    uint32_t flags = 0;
    uint64_t fence_id = 0;
    uint32_t ctx_id = 0;
    uint8_t ring_idx = 0;

    [[nodiscard]] wire::ControlHeader wire() const {
        return {type, flags, fence_id, ctx_id, ring_idx, {}};
    }
};

/// What a display would have been told.
class RecordingSink final : public rutabaga::DisplaySink {
  public:
    struct Flush {
        uint32_t scanout;
        wire::Rect damage;
    };
    struct Cursor {
        std::shared_ptr<const rutabaga::CursorImage> image;
        int32_t x = 0;
        int32_t y = 0;
    };

    std::map<uint32_t, std::shared_ptr<const rutabaga::Frame>> frames;  ///< null: turned off
    std::vector<Flush> flushes;
    std::map<uint32_t, Cursor> cursors;
    size_t scanout_calls = 0;
    bool record = true;

    void set_scanout(uint32_t scanout, std::shared_ptr<const rutabaga::Frame> frame) override {
        ++scanout_calls;
        frames[scanout] = std::move(frame);
    }
    void flush(uint32_t scanout, const wire::Rect& damage) override {
        const rutabaga::Frame* const frame = frames[scanout].get();
        if (frame == nullptr || !rutabaga::rect_inside(damage, frame->width(), frame->height()))
            throw std::logic_error("the damage is not inside a frame");
        if (record) flushes.push_back({scanout, damage});
    }
    void set_cursor(uint32_t scanout, std::shared_ptr<const rutabaga::CursorImage> image, int32_t x,
                    int32_t y) override {
        cursors[scanout] = {std::move(image), x, y};
    }
    void move_cursor(uint32_t scanout, int32_t x, int32_t y) override {
        cursors[scanout].x = x;
        cursors[scanout].y = y;
    }
};

class RecordingHost final : public virtio::DeviceHost {
  public:
    std::array<size_t, 2> interrupts{};
    size_t config_interrupts = 0;
    std::vector<uint16_t> broken;
    std::function<void()> on_interrupt = [] {};

    void queue_interrupt(uint16_t queue) override {
        ++interrupts.at(queue);
        on_interrupt();
    }
    void config_interrupt() override { ++config_interrupts; }
    void queue_broken(uint16_t queue) override { broken.push_back(queue); }
};

/// A device on a loop that the test turns, and a driver's two queues.
class Harness {
  public:
    struct Setup {
        std::vector<OutputSize> outputs{OutputSize{}};
        bool renderer = false;
        DoorAbilities door;
        uint64_t window = 0;  ///< bytes of a static window; 0: none
        Budget::Limits limits = Budget::default_limits();
        uint16_t queue_size = 256;
        std::optional<uint64_t> features;  ///< what the driver takes; all by default
        uint64_t ram = virtio::testing::TestGuest::kDefaultSize;
    };
    struct Answer {
        uint32_t written = 0;  ///< bytes, as the used ring says
        std::vector<std::byte> bytes;

        [[nodiscard]] wire::ControlHeader header() const { return as<wire::ControlHeader>(); }
        [[nodiscard]] uint32_t type() const { return header().type; }
        template <typename T>
        [[nodiscard]] T as() const {
            if (bytes.size() < sizeof(T)) throw std::runtime_error("the response is too short");
            T value;
            std::memcpy(&value, bytes.data(), sizeof(T));
            return value;
        }
    };

    Harness() : Harness(Setup()) {}
    explicit Harness(const Setup& setup)
        : loop(EventLoop::create().value()),
          guest(virtio::testing::TestGuest::kDefaultBase, setup.ram) {
        if (setup.window != 0) {
            auto made = StaticWindow::create(setup.window).value();
            static_window = made.get();
            window = std::move(made);
        } else {
            window = std::make_unique<NoWindow>();
        }
        start(setup);
    }
    Harness(const Setup& setup, std::unique_ptr<HostVisibleWindow> own_window)
        : loop(EventLoop::create().value()),
          guest(virtio::testing::TestGuest::kDefaultBase, setup.ram),
          window(std::move(own_window)) {
        start(setup);
    }

    std::unique_ptr<EventLoop> loop;
    virtio::testing::TestGuest guest;
    std::unique_ptr<HostVisibleWindow> window;
    StaticWindow* static_window = nullptr;
    RecordingSink sink;
    RecordingHost host;
    std::unique_ptr<GpuDevice> device;
    FakeRenderer* renderer = nullptr;  ///< the device's
    std::optional<virtio::testing::DriverQueue> control;
    std::optional<virtio::testing::DriverQueue> cursor;

    /// Turns the loop until nothing is ready.
    void turn() {
        for (int i = 0; i < 16; ++i) loop->run_once(std::chrono::milliseconds(0));
    }
    void kick(uint16_t queue = wire::kControlQueue) { device->process_queue(queue); }
    void run() {
        kick();
        turn();
        collect();
    }

    /// A request as it goes over the queue.
    template <typename... Parts>
    [[nodiscard]] static std::vector<std::byte> request(const Header& header,
                                                        const Parts&... parts) {
        std::vector<std::byte> bytes;
        const auto add = [&](const auto& part) {
            const auto raw = std::as_bytes(std::span(&part, 1));
            bytes.insert(bytes.end(), raw.begin(), raw.end());
        };
        add(header.wire());
        (add(parts), ...);
        return bytes;
    }

    /// Offers a request; its answer is found by the head that comes back.
    uint16_t send(std::span<const std::byte> bytes, uint32_t room = 2048) {
        return control->add_request(bytes, room).value();
    }
    template <typename... Parts>
    uint16_t send(const Header& header, const Parts&... parts) {
        return send(request(header, parts...));
    }

    /// The answer to what send() gave, if there is one by now.
    [[nodiscard]] std::optional<Answer> answer(uint16_t head) {
        collect();
        const auto found = answers_.find(head);
        if (found == answers_.end()) return std::nullopt;
        Answer answer = std::move(found->second);
        answers_.erase(found);
        return answer;
    }

    /// Sends, runs until nothing is ready, and gives the answer, which must be there.
    template <typename... Parts>
    Answer ask(const Header& header, const Parts&... parts) {
        return ask_bytes(request(header, parts...));
    }
    Answer ask_bytes(std::span<const std::byte> bytes, uint32_t room = 2048) {
        const uint16_t head = send(bytes, room);
        run();
        auto got = answer(head);
        if (!got) throw std::runtime_error("the command is not answered");
        return *std::move(got);
    }
    /// The same for a command of which only the response type matters.
    template <typename... Parts>
    uint32_t type_of(const Header& header, const Parts&... parts) {
        return ask(header, parts...).type();
    }
    /// On the cursor queue, with room for a response, which Linux does not give.
    uint32_t cursor_type_of(uint32_t type, const wire::UpdateCursor& update) {
        const auto bytes = request({.type = type}, update);
        if (!cursor->add_request(bytes, sizeof(wire::ControlHeader))) return 0;
        kick(wire::kCursorQueue);
        turn();
        const auto used = cursor->take_used();
        if (!used || used->response.size() < sizeof(wire::ControlHeader)) return 0;
        wire::ControlHeader header;
        std::memcpy(&header, used->response.data(), sizeof(header));
        return header.type;
    }

    // Frequent steps.

    uint32_t create_2d(uint32_t id, uint32_t width, uint32_t height) {
        return type_of({.type = wire::kCmdResourceCreate2d},
                       wire::ResourceCreate2d{id, wire::kFormatB8G8R8X8, width, height});
    }
    /// Guest memory behind the resource; gives its address.
    uint64_t attach_backing(uint32_t id, uint32_t size) {
        const uint64_t address = guest.allocate(size);
        if (type_of({.type = wire::kCmdResourceAttachBacking}, wire::ResourceAttachBacking{id, 1},
                    wire::MemEntry{address, size, 0}) != wire::kRespOkNodata)
            throw std::runtime_error("the backing cannot be attached");
        return address;
    }
    uint32_t set_scanout(uint32_t scanout, uint32_t id, const wire::Rect& rect) {
        return type_of({.type = wire::kCmdSetScanout}, wire::SetScanout{rect, scanout, id});
    }
    uint32_t flush(uint32_t id, const wire::Rect& rect) {
        return type_of({.type = wire::kCmdResourceFlush}, wire::ResourceFlush{rect, id, 0});
    }
    uint32_t transfer(uint32_t id, const wire::Rect& rect, uint64_t offset) {
        return type_of({.type = wire::kCmdTransferToHost2d},
                       wire::TransferToHost2d{rect, offset, id, 0});
    }
    uint32_t unref(uint32_t id) {
        return type_of({.type = wire::kCmdResourceUnref}, wire::ResourceUnref{id, 0});
    }
    uint32_t create_context(uint32_t context, uint32_t capset = kCapset) {
        return type_of({.type = wire::kCmdCtxCreate, .ctx_id = context},
                       wire::CtxCreate{4, capset, "test"});
    }
    uint32_t destroy_context(uint32_t context) {
        return type_of({.type = wire::kCmdCtxDestroy, .ctx_id = context});
    }
    uint32_t create_host_blob(uint32_t context, uint32_t id, uint64_t size,
                              uint32_t flags = wire::kBlobFlagUseMappable) {
        return type_of({.type = wire::kCmdResourceCreateBlob, .ctx_id = context},
                       wire::ResourceCreateBlob{id, wire::kBlobMemHost3d, flags, 0, id, size});
    }
    uint32_t map_blob(uint32_t id, uint64_t offset) {
        return type_of({.type = wire::kCmdResourceMapBlob}, wire::ResourceMapBlob{id, 0, offset});
    }
    uint32_t unmap_blob(uint32_t id) {
        return type_of({.type = wire::kCmdResourceUnmapBlob}, wire::ResourceUnmapBlob{id, 0});
    }
    /// A SUBMIT_3D of 4 bytes; with a fence when `fence` is not 0.
    uint16_t submit(uint32_t context, uint64_t fence = 0, std::optional<uint8_t> ring = {}) {
        Header header{.type = wire::kCmdSubmit3d, .ctx_id = context};
        if (fence != 0) {
            header.flags |= wire::kFlagFence;
            header.fence_id = fence;
        }
        if (ring) {
            header.flags |= wire::kFlagInfoRingIdx;
            header.ring_idx = *ring;
        }
        return send(header, wire::CmdSubmit{4, 0}, uint32_t{0x64637773});
    }

    void reset() {
        bool done = false;
        device->reset([&] { done = true; });
        turn();
        if (!done) throw std::runtime_error("the reset does not end");
        answers_.clear();
    }

    static constexpr uint32_t kCapset = 63;

    static std::vector<rutabaga::Capset> capsets() {
        return {{kCapset, 3, std::vector<std::byte>(40, std::byte{0xab})},
                {kCapset - 1, 0, std::vector<std::byte>(4, std::byte{0xcd})}};
    }

    void start(const Setup& setup) {
        Options options;
        options.outputs = setup.outputs;
        options.limits = setup.limits;
        if (setup.renderer)
            options.renderers = [this](const virtio_gpu::RendererSetting& setting)
                -> Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> {
                const auto& completions = setting.sink;
                auto made = std::make_unique<FakeRenderer>(completions, capsets());
                renderer = made.get();
                std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
                renderers.push_back(std::move(made));
                return renderers;
            };
        device = GpuDevice::create(*loop, options, setup.door, guest.memory, *window, host, sink)
                     .value();
        device->set_features(setup.features.value_or(device->features()) |
                             virtio::kFeatureVersion1);
        virtio::testing::DriverQueue::Options queue;
        queue.size = setup.queue_size;
        control.emplace(guest, device->queues()[wire::kControlQueue], queue);
        queue.size = 16;
        cursor.emplace(guest, device->queues()[wire::kCursorQueue], queue);
    }

  private:
    void collect() {
        while (auto used = control->take_used())
            answers_[used->head] = {used->written, std::move(used->response)};
    }

    std::map<uint16_t, Answer> answers_;
};

}  // namespace swede::virtio_gpu::testing
