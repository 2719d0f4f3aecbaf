// SPDX-License-Identifier: Apache-2.0
// The renderer process's end, driven by raw messages.
#include "renderer_process/server.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>

#include "harness.h"
#include "unit/base/peer_socket.h"

namespace swede::test {
namespace {

using namespace renderer_process;  // NOLINT: a dozen of its structures are used here

using Bytes = std::vector<std::byte>;

class ServerTest : public ::testing::Test {
  protected:
    void SetUp() override {
        loop_ = EventLoop::create().value();
        auto [ours, theirs] = testing::socket_pair();
        device_.emplace(std::move(ours),
                        MessageSocket::Limits{sizeof(Header), kMaxReportPayload, 1, 1 << 20},
                        payload_size);
        server_ = Server::create(
                      *loop_, std::move(theirs),
                      [](std::shared_ptr<rutabaga::CompletionSink> sink) {
                          return only_test_renderer(std::move(sink), TestRenderer::Faults::kNone);
                      },
                      [this](const Error& why) { ended_ = why; })
                      .value();
        server_->start();
        ASSERT_EQ(next_report(), Report::kHello);
    }

    void say(Request type, uint64_t request, std::span<const std::byte> body,
             std::span<const std::byte> tail = {}, int fd = -1) {
        const Header header{static_cast<uint32_t>(type),
                            static_cast<uint32_t>(body.size() + tail.size()), request};
        const std::array<std::span<const std::byte>, 3> parts{bytes_of(header), body, tail};
        ASSERT_TRUE(
            device_->send(parts, fd < 0 ? std::span<const int>() : std::span<const int>(&fd, 1)));
        for (int i = 0; i < 4; ++i) loop_->run_once(std::chrono::milliseconds(0));
    }

    /// The type of the next report, which is in message_; 0 for none.
    Report next_report() {
        for (int i = 0; i < 100; ++i) {
            const auto received = device_->receive(message_);
            if (received && *received) {
                ByteReader reader(message_.bytes);
                header_ = reader.read<Header>().value();
                return static_cast<Report>(header_.type);
            }
            loop_->run_once(std::chrono::milliseconds(5));
        }
        return static_cast<Report>(0);
    }
    [[nodiscard]] Answer answer_to(uint64_t request) {
        EXPECT_EQ(next_report(), Report::kAnswer);
        EXPECT_EQ(header_.request, request);
        ByteReader reader(std::span(message_.bytes).subspan(sizeof(Header)));
        return reader.read<Answer>().value_or(Answer{});
    }
    [[nodiscard]] bool is_refused(uint64_t request) { return answer_to(request).failed != 0; }
    [[nodiscard]] bool has_ended() const { return ended_.has_value(); }

    void make_context(uint32_t id) {
        say(Request::kCreateContext, 100, bytes_of(CreateContext{id, SWEDE_TEST_CAPSET_ID, 0, {}}));
        ASSERT_FALSE(is_refused(100));
    }
    void make_blob(uint32_t context, uint32_t resource) {
        say(Request::kCreateBlob, 101,
            bytes_of(CreateBlob{context, resource, 2, 1, 0, kPageSize, 0}));
        ASSERT_FALSE(is_refused(101));
    }

    std::unique_ptr<EventLoop> loop_;
    std::optional<MessageSocket> device_;
    std::unique_ptr<Server> server_;
    std::optional<Error> ended_;
    Message message_;
    Header header_{};
};

TEST_F(ServerTest, HangUp_EndsIt) {
    device_.reset();
    for (int i = 0; i < 3; ++i) loop_->run_once(std::chrono::milliseconds(0));
    ASSERT_TRUE(has_ended());
    EXPECT_EQ(ended_->code, ErrorCode::kClosed);
}

TEST_F(ServerTest, Ping_IsAnswered) {
    say(Request::kPing, 9, {});
    EXPECT_FALSE(is_refused(9));
}

TEST_F(ServerTest, UnknownRequest_EndsIt) {
    say(static_cast<Request>(0), 0, {});
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, RequestPastTheTable_EndsIt) {
    say(Request::kCount, 0, {});
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, RequestTooShort_EndsIt) {
    say(Request::kCreateContext, 1, Bytes(sizeof(CreateContext) - 1));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, RequestTooLong_EndsIt) {
    say(Request::kPing, 1, Bytes(1));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, RequestWithoutANumber_EndsIt) {
    say(Request::kPing, 0, {});
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, NumberOfWhatWantsNoAnswer_EndsIt) {
    say(Request::kDropBacking, 1, bytes_of(DropBacking{1}));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, RegionWithoutAFile_EndsIt) {
    say(Request::kAddRegion, 0, bytes_of(AddRegion{1, 0, kPageSize, 0, 1, 0}));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, FileThatNobodyWants_EndsIt) {
    const UniqueFd fd = create_memfd("x", kPageSize).value();
    say(Request::kPing, 1, {}, {}, fd.get());
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, BackingOfAnUnknownRegion_EndsIt) {
    say(Request::kAddBacking, 0, bytes_of(AddBacking{1, 1}), bytes_of(Segment{5, 0, 1}));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, BackingWithFewerSegmentsThanItSays_EndsIt) {
    say(Request::kAddBacking, 0, bytes_of(AddBacking{1, 2}), bytes_of(Segment{5, 0, 1}));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, BackingCountThatOverflows_EndsIt) {
    say(Request::kAddBacking, 0, bytes_of(AddBacking{1, (UINT64_MAX / 24) + 2}), Bytes(24));
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, WindowRangeInsideAPage_EndsIt) {
    make_context(1);
    make_blob(1, 7);
    const UniqueFd fd = create_memfd("x", 4 * kPageSize).value();
    say(Request::kPlaceBlob, 5, bytes_of(PlaceBlob{7, 0, 1, kPageSize}), {}, fd.get());
    EXPECT_TRUE(has_ended());
}

TEST_F(ServerTest, WindowRangePastItsFile_IsRefused) {
    make_context(1);
    make_blob(1, 7);
    const UniqueFd fd = create_memfd("x", kPageSize).value();
    say(Request::kPlaceBlob, 5, bytes_of(PlaceBlob{7, 0, kPageSize, kPageSize}), {}, fd.get());
    EXPECT_TRUE(is_refused(5));
    EXPECT_FALSE(has_ended());
}

TEST_F(ServerTest, ContextMadeTwice_IsRefused) {
    make_context(1);
    say(Request::kCreateContext, 6, bytes_of(CreateContext{1, SWEDE_TEST_CAPSET_ID, 0, {}}));
    EXPECT_TRUE(is_refused(6));
}

TEST_F(ServerTest, ContextZero_IsRefused) {
    say(Request::kCreateContext, 6, bytes_of(CreateContext{0, SWEDE_TEST_CAPSET_ID, 0, {}}));
    EXPECT_TRUE(is_refused(6));
}

TEST_F(ServerTest, ContextNameLongerThanItsField_IsCut) {
    say(Request::kCreateContext, 6,
        bytes_of(CreateContext{1, SWEDE_TEST_CAPSET_ID, UINT32_MAX, {}}));
    EXPECT_FALSE(is_refused(6));
}

TEST_F(ServerTest, ResourceMadeTwice_IsRefused) {
    make_context(1);
    make_blob(1, 7);
    say(Request::kCreateBlob, 8, bytes_of(CreateBlob{1, 7, 2, 1, 0, kPageSize, 0}));
    EXPECT_TRUE(is_refused(8));
}

TEST_F(ServerTest, WhatIsNotThere_IsRefused) {
    const UniqueFd fd = create_memfd("x", kPageSize).value();
    say(Request::kDestroyContext, 1, bytes_of(ContextOnly{5, 0}));
    EXPECT_TRUE(is_refused(1));
    say(Request::kDestroyResource, 2, bytes_of(ResourceOnly{5, 0}));
    EXPECT_TRUE(is_refused(2));
    say(Request::kExportBlob, 3, bytes_of(ResourceOnly{5, 0}));
    EXPECT_TRUE(is_refused(3));
    say(Request::kPlaceBlob, 4, bytes_of(PlaceBlob{5, 0, 0, kPageSize}), {}, fd.get());
    EXPECT_TRUE(is_refused(4));
    say(Request::kDisplaceBlob, 5, bytes_of(ResourceOnly{5, 0}));
    EXPECT_TRUE(is_refused(5));
    say(Request::kTransferToHost, 6, bytes_of(Transfer{0, 5, {}}));
    EXPECT_TRUE(is_refused(6));
    say(Request::kTransferFromHost, 7, bytes_of(Transfer{0, 5, {}}));
    EXPECT_TRUE(is_refused(7));
    say(Request::kCreateBlob, 8, bytes_of(CreateBlob{5, 5, 2, 1, 0, kPageSize, 0}));
    EXPECT_TRUE(is_refused(8));
    EXPECT_FALSE(has_ended());
}

TEST_F(ServerTest, WhatIsNotThere_IsNoMatterWhereNothingAnswers) {
    say(Request::kAttachResource, 0, bytes_of(AttachResource{5, 6, 0, 0}));
    say(Request::kDetachResource, 0, bytes_of(DetachResource{5, 6}));
    say(Request::kDetachBacking, 0, bytes_of(ResourceOnly{5, 0}));
    say(Request::kDropBacking, 0, bytes_of(DropBacking{9}));
    say(Request::kSubmit, 0, bytes_of(Submit{5, 0}), Bytes(100));
    say(Request::kRemoveRegion, 1, bytes_of(RemoveRegion{9}));
    EXPECT_FALSE(is_refused(1));
    EXPECT_FALSE(has_ended());
}

TEST_F(ServerTest, FenceOfNoContext_IsReachedAtOnce) {
    say(Request::kCreateFence, 0, bytes_of(CreateFence{44, 1, 5, 0}));
    ASSERT_EQ(next_report(), Report::kFencesDone);
    uint64_t ticket = 0;
    ASSERT_EQ(message_.bytes.size(), sizeof(Header) + sizeof(ticket));
    std::memcpy(&ticket, message_.bytes.data() + sizeof(Header), sizeof(ticket));
    EXPECT_EQ(ticket, 44u);
}

TEST_F(ServerTest, ManyFences_CostFewMessages) {
    make_context(1);
    Bytes all;
    for (uint64_t i = 1; i <= 60; ++i) {
        const CreateFence fence{i, i, 1, 0};
        const Header header{static_cast<uint32_t>(Request::kCreateFence), sizeof(fence), 0};
        all.insert(all.end(), bytes_of(header).begin(), bytes_of(header).end());
        all.insert(all.end(), bytes_of(fence).begin(), bytes_of(fence).end());
    }
    ASSERT_TRUE(device_->send(std::span<const std::byte>(all)));
    ASSERT_EQ(next_report(), Report::kFencesDone);
    EXPECT_EQ(message_.bytes.size(), sizeof(Header) + 60 * sizeof(uint64_t));
}

TEST_F(ServerTest, CommandsThatFail_LoseTheContextOnce) {
    make_context(1);
    const Commands refused = Commands().add(SWEDE_TEST_REFUSE);
    say(Request::kSubmit, 0, bytes_of(Submit{1, 0}), refused);
    say(Request::kSubmit, 0, bytes_of(Submit{1, 0}), refused);
    EXPECT_EQ(next_report(), Report::kContextLost);
    say(Request::kPing, 9, {});
    EXPECT_FALSE(is_refused(9)) << "and nothing in between";
}

TEST_F(ServerTest, RingNumberOutOfRange_IsTheGlobalTimeline) {
    make_context(1);
    say(Request::kCreateFence, 0, bytes_of(CreateFence{44, 1, 1, 256}));
    EXPECT_EQ(next_report(), Report::kFencesDone);
    EXPECT_FALSE(has_ended());
}

TEST_F(ServerTest, Capset_OfNobodyIsRefused) {
    say(Request::kCreateContext, 6, bytes_of(CreateContext{1, 3, 0, {}}));
    EXPECT_TRUE(is_refused(6));
}

}  // namespace
}  // namespace swede::test
