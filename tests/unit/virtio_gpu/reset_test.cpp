// SPDX-License-Identifier: Apache-2.0
// Device reset, the end of a device, and completions that come too late for either.
#include <dirent.h>
#include <gtest/gtest.h>

#include <thread>

#include "unit/virtio_gpu/harness.h"
#include "virtio_gpu/completion_queue.h"

namespace swede::virtio_gpu::testing {
namespace {

using namespace wire;

size_t open_fds() {
    size_t count = 0;
    DIR* const dir = ::opendir("/proc/self/fd");
    while (::readdir(dir) != nullptr) ++count;
    ::closedir(dir);
    return count;
}

Harness::Setup full() {
    Harness::Setup setup;
    setup.renderer = true;
    setup.window = 64 * 4096;
    return setup;
}

/// Some of everything that a guest can make.
void fill(Harness& gpu) {
    ASSERT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
    gpu.attach_backing(1, 64 * 64 * 4);
    ASSERT_EQ(gpu.set_scanout(0, 1, {0, 0, 64, 64}), kRespOkNodata);
    ASSERT_EQ(gpu.cursor_type_of(kCmdUpdateCursor, {{0, 5, 5, 0}, 1, 0, 0, 0}), kRespOkNodata);
    ASSERT_EQ(gpu.create_context(1), kRespOkNodata);
    ASSERT_EQ(gpu.create_host_blob(1, 2, 4096), kRespOkNodata);
    ASSERT_EQ(gpu.map_blob(2, 0), kRespOkMapInfo);
    gpu.renderer->fences_at_once = false;
    gpu.submit(1, 10, 0);
    gpu.renderer->held = {"create_blob"};
    gpu.send(Header{.type = kCmdResourceCreateBlob, .ctx_id = 1},
             ResourceCreateBlob{3, kBlobMemHost3d, kBlobFlagUseMappable, 0, 3, 4096});
    gpu.submit(1, 11, 1);  // waits
    gpu.run();
}

void expect_empty(const Census& census) {
    EXPECT_EQ(census.resources, 0u);
    EXPECT_EQ(census.contexts, 0u);
    EXPECT_EQ(census.mappings, 0u);
    EXPECT_EQ(census.pending_commands, 0u);
    EXPECT_EQ(census.pending_fences, 0u);
    EXPECT_EQ(census.host_bytes, 0u);
}

TEST(Reset, LeavesNothingOfTheGuest_D12_I9) {
    Harness gpu(full());
    const size_t fds = open_fds();
    fill(gpu);
    EXPECT_EQ(gpu.device->census().pending_commands, 3u);
    EXPECT_NE(gpu.device->census().host_bytes, 0u);
    gpu.reset();
    expect_empty(gpu.device->census());
    EXPECT_EQ(gpu.sink.frames[0], nullptr);
    EXPECT_EQ(gpu.sink.cursors[0].image, nullptr);
    EXPECT_FALSE(gpu.device->queues()[0].enabled());
    EXPECT_FALSE(gpu.device->queues()[1].enabled());
    EXPECT_TRUE(gpu.renderer->called("reset 0"));
    const Mapping bar = Mapping::own_file(gpu.static_window->fd(), 0, 4096, Access::kRead).value();
    EXPECT_EQ(bar.data()[0], std::byte{0});
    gpu.renderer->drop_all();
    EXPECT_EQ(open_fds(), fds);
}

TEST(Reset, LetsTheNextDriverStartAnew) {
    Harness gpu(full());
    for (int boot = 0; boot < 5; ++boot) {
        fill(gpu);
        gpu.renderer->held.clear();
        gpu.renderer->fences_at_once = true;
        gpu.reset();
        gpu.control->attach();
        gpu.cursor->attach();
        gpu.device->set_features(gpu.device->features());
    }
    EXPECT_EQ(gpu.create_2d(1, 64, 64), kRespOkNodata);
    EXPECT_EQ(gpu.create_context(1), kRespOkNodata);
    const uint16_t head = gpu.submit(1, 5, 0);
    gpu.run();
    EXPECT_EQ(gpu.answer(head)->type(), kRespOkNodata);
}

TEST(Reset, ForgetsTheFeaturesThatWereNegotiated) {
    Harness gpu(full());
    gpu.reset();
    gpu.control->attach();
    EXPECT_EQ(gpu.type_of({.type = kCmdGetEdid}, GetEdid{0, 0}), kRespErrUnspec);
}

TEST(Reset, LateAnswersAndFencesOfTheOldGuestDoNothing) {
    Harness gpu(full());
    fill(gpu);
    const auto fences = gpu.renderer->state.fences;
    ASSERT_FALSE(fences.empty());
    gpu.reset();
    gpu.control->attach();
    gpu.device->set_features(gpu.device->features());
    gpu.renderer->held.clear();
    ASSERT_EQ(gpu.create_context(1), kRespOkNodata);
    const uint16_t head = gpu.submit(1, 10, 0);
    gpu.run();
    for (const auto& fence : fences) gpu.renderer->sink().fence_done(fence.ticket);
    gpu.renderer->answer_all();
    gpu.run();
    EXPECT_FALSE(gpu.answer(head));
    EXPECT_EQ(gpu.device->census().pending_commands, 1u);
    EXPECT_EQ(gpu.device->census().resources, 0u);
    EXPECT_EQ(gpu.control->used_index(), 1);  // the new guest's CTX_CREATE
}

TEST(Reset, WaitsForTheRendererAndTakesNoCommandMeanwhile) {
    Harness gpu(full());
    gpu.renderer->held = {"reset"};
    int done = 0;
    gpu.device->reset([&] { ++done; });
    gpu.device->reset([&] { done += 10; });
    gpu.turn();
    EXPECT_EQ(done, 0);
    gpu.control->attach();
    gpu.device->set_features(gpu.device->features());
    const uint16_t head = gpu.send({.type = kCmdGetDisplayInfo});
    gpu.run();
    EXPECT_FALSE(gpu.answer(head));
    gpu.renderer->sink().context_lost(1, {ErrorCode::kDeviceLost, "late"});
    gpu.renderer->answer_all();
    gpu.turn();
    EXPECT_EQ(done, 11);
    EXPECT_EQ(gpu.answer(head)->type(), kRespOkDisplayInfo);  // without another notification
}

TEST(Reset, KeepsTheSizesOfTheOutputsAndForgetsEvents) {
    Harness gpu;
    ASSERT_TRUE(gpu.device->set_output(0, {800, 600, true}));
    gpu.reset();
    Config config{};
    gpu.device->read_config(0, std::as_writable_bytes(std::span(&config, 1)));
    EXPECT_EQ(config.events_read, 0u);
    EXPECT_EQ(gpu.device->outputs()[0].width, 800u);
}

TEST(Reset, MayEndTheDeviceInItsAnswer) {
    Harness gpu(full());
    fill(gpu);
    bool done = false;
    gpu.device->reset([&] {
        gpu.device.reset();
        done = true;
    });
    gpu.turn();
    EXPECT_TRUE(done);
    EXPECT_EQ(gpu.device, nullptr);
}

TEST(Destruction, WithEverythingOutLeavesNoFdAndTurnsTheDisplayOff) {
    const size_t fds = open_fds();
    {
        Harness gpu(full());
        fill(gpu);
        gpu.device.reset();
        EXPECT_EQ(gpu.sink.frames[0], nullptr);
        gpu.turn();  // what was posted is dropped
    }
    EXPECT_EQ(open_fds(), fds);
}

TEST(Create, PassesOnThatARendererCannotStart) {
    const auto loop = EventLoop::create().value();
    virtio::GuestMemory memory;
    NoWindow window;
    RecordingHost host;
    RecordingSink sink;
    Options options;
    options.renderers = [](auto&&...) -> Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> {
        return fail(ErrorCode::kSystem, "No such program.");
    };
    const auto device = GpuDevice::create(*loop, options, {}, memory, window, host, sink);
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().message, "No such program.");
}

TEST(Create, RefusesTwoRenderersOfOneCapset) {
    const auto loop = EventLoop::create().value();
    virtio::GuestMemory memory;
    NoWindow window;
    RecordingHost host;
    RecordingSink sink;
    Options options;
    options.renderers = [](const virtio_gpu::RendererSetting& setting)
        -> Result<std::vector<std::unique_ptr<rutabaga::Renderer>>> {
        const auto& completions = setting.sink;
        std::vector<std::unique_ptr<rutabaga::Renderer>> renderers;
        for (int i = 0; i < 2; ++i)
            renderers.push_back(std::make_unique<FakeRenderer>(completions, Harness::capsets()));
        return renderers;
    };
    EXPECT_FALSE(GpuDevice::create(*loop, options, {}, memory, window, host, sink));
}

// The queue of completions by itself.

class Receiver final : public CompletionQueue::Receiver {
  public:
    std::vector<std::string> events;
    void on_fence_done(uint64_t ticket) override {
        events.push_back("fence " + std::to_string(ticket));
    }
    void on_context_lost(rutabaga::ContextId context, const Error& why) override {
        events.push_back("lost " + std::to_string(context) + " " + why.message);
    }
    void on_drained() override { events.emplace_back("drained"); }
};

TEST(CompletionQueue, RunsWhatIsReportedInOrderOnTheLoop) {
    const auto loop = EventLoop::create().value();
    Receiver receiver;
    const auto queue = CompletionQueue::create(*loop, receiver);
    queue->fence_done(1);
    queue->post([&] { receiver.events.emplace_back("task"); });
    queue->context_lost(4, {ErrorCode::kDeviceLost, "gone"});
    queue->fence_done(2);
    EXPECT_TRUE(receiver.events.empty());
    loop->run_once(std::chrono::milliseconds(0));
    const std::vector<std::string> expected{"fence 1", "task", "lost 4 gone", "fence 2", "drained"};
    EXPECT_EQ(receiver.events, expected);
}

TEST(CompletionQueue, DropsEverythingOnceClosed) {
    auto loop = EventLoop::create().value();
    Receiver receiver;
    const auto queue = CompletionQueue::create(*loop, receiver);
    bool ran = false;
    queue->post([&] { ran = true; });
    queue->close();
    loop->run_once(std::chrono::milliseconds(0));
    loop.reset();  // what outlives the device outlives the loop as well
    queue->fence_done(1);
    queue->post([&] { ran = true; });
    queue->context_lost(1, {});
    EXPECT_FALSE(ran);
    EXPECT_TRUE(receiver.events.empty());
}

TEST(CompletionQueue, StopsWhenATaskClosesIt) {
    const auto loop = EventLoop::create().value();
    Receiver receiver;
    const auto queue = CompletionQueue::create(*loop, receiver);
    queue->post([&] { queue->close(); });
    queue->fence_done(1);
    loop->run_once(std::chrono::milliseconds(0));
    EXPECT_TRUE(receiver.events.empty());
}

TEST(CompletionQueue, TakesReportsOfManyThreadsAndLosesNone) {
    const auto loop = EventLoop::create().value();
    Receiver receiver;
    const auto queue = CompletionQueue::create(*loop, receiver);
    constexpr size_t kThreads = 4;
    constexpr size_t kEach = 2000;
    std::vector<std::thread> threads;
    for (size_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&] {
            for (size_t i = 0; i < kEach; ++i) queue->fence_done(i);
        });
    size_t fences = 0;
    while (fences < kThreads * kEach) {
        loop->run_once(std::chrono::milliseconds(1000));
        for (const std::string& event : receiver.events) fences += event != "drained";
        receiver.events.clear();
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(fences, kThreads * kEach);
}

}  // namespace
}  // namespace swede::virtio_gpu::testing
