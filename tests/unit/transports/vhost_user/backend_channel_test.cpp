// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/backend_channel.h"

#include <gtest/gtest.h>

#include "peer.h"

namespace swede::vhost_user {
namespace {

using testing::answer;
using testing::receive;
using testing::turn;

class BackendChannelTest : public ::testing::Test {
  protected:
    BackendChannelTest() {
        EXPECT_TRUE(channel_.attach(std::move(pair_.ours)));
        peer_ = std::move(pair_.theirs);
    }
    void request(BackendRequest request = BackendRequest::kShmemUnmap) {
        const ShmemMap payload{};
        channel_.request(request, bytes_of(payload), -1, [this](Result<void> result) {
            answers_.push_back(result ? std::nullopt : std::optional(result.error().code));
        });
    }

    std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
    std::vector<Error> broken_;
    std::vector<std::optional<ErrorCode>> answers_;
    BackendChannel channel_{*loop_, [this](const Error& why) { broken_.push_back(why); }};
    testing::SocketPair pair_;
    UniqueFd peer_;
};

TEST_F(BackendChannelTest, Request_IsSentAtOnceAndAnsweredLater) {
    request();
    const auto sent = receive(peer_.get());
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->header.request, 10u);
    EXPECT_EQ(sent->header.flags, kVersion | kFlagNeedReply);
    EXPECT_EQ(sent->payload.size(), 40u);
    turn(*loop_);
    EXPECT_TRUE(answers_.empty());
    answer(peer_.get(), BackendRequest::kShmemUnmap, 0);
    turn(*loop_);
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_FALSE(answers_[0]);
}

TEST_F(BackendChannelTest, Request_SeveralAreOutAndAnsweredInOrder) {
    for (int i = 0; i < 3; ++i) request();
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(receive(peer_.get()));
    answer(peer_.get(), BackendRequest::kShmemUnmap, 0);
    answer(peer_.get(), BackendRequest::kShmemUnmap, 5);
    turn(*loop_);
    ASSERT_EQ(answers_.size(), 2u);
    EXPECT_FALSE(answers_[0]);
    EXPECT_EQ(answers_[1], ErrorCode::kOutOfMemory);
    EXPECT_EQ(channel_.outstanding(), 1u);
    EXPECT_TRUE(broken_.empty());
}

TEST_F(BackendChannelTest, Notify_WantsNoAnswer) {
    channel_.notify(BackendRequest::kConfigChange);
    const auto sent = receive(peer_.get());
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->header.request, 2u);
    EXPECT_EQ(sent->header.flags, kVersion);
    EXPECT_EQ(channel_.outstanding(), 0u);
}

TEST_F(BackendChannelTest, Request_WithoutAChannelFails) {
    BackendChannel none(*loop_, [](const Error&) {});
    std::optional<Result<void>> result;
    none.request(BackendRequest::kShmemMap, {}, -1, [&](Result<void> r) { result = std::move(r); });
    ASSERT_TRUE(result);
    EXPECT_FALSE(*result);
    none.notify(BackendRequest::kConfigChange);
}

TEST_F(BackendChannelTest, Attach_RefusesWhatIsNoSocketAndKeepsTheOld) {
    EXPECT_FALSE(channel_.attach(testing::eventfd()));
    EXPECT_TRUE(channel_.attached());
    request();
    EXPECT_TRUE(receive(peer_.get()));
}

TEST_F(BackendChannelTest, Attach_ANewSocketFailsWhatIsOutOnTheOld) {
    request();
    testing::SocketPair other;
    ASSERT_TRUE(channel_.attach(std::move(other.ours)));
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(answers_[0]);
    request();
    EXPECT_TRUE(receive(other.theirs.get()));
}

TEST_F(BackendChannelTest, FrontEnd_ThatClosesTheChannelFailsWhatIsOutAndNoMore) {
    request();
    peer_.reset();
    turn(*loop_);
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(broken_.empty());
    EXPECT_FALSE(channel_.attached());
    request();
    EXPECT_EQ(answers_.size(), 2u);
}

TEST_F(BackendChannelTest, FrontEnd_ThatNeverReadsCostsABoundedAmount) {
    for (int i = 0; i < 20'000 && channel_.attached(); ++i) request();
    EXPECT_FALSE(channel_.attached());
    EXPECT_EQ(channel_.outstanding(), 0u);
    for (const auto& error : answers_) EXPECT_TRUE(error);
}

// Answers that no front end may give: each ends the client.
TEST_F(BackendChannelTest, Bad_AnswerThatNobodyAskedFor) {
    answer(peer_.get(), BackendRequest::kShmemMap, 0);
    turn(*loop_);
    EXPECT_EQ(broken_.size(), 1u);
}

TEST_F(BackendChannelTest, Bad_AnswerToAnotherRequest) {
    request(BackendRequest::kShmemMap);
    answer(peer_.get(), BackendRequest::kShmemUnmap, 0);
    turn(*loop_);
    EXPECT_EQ(broken_.size(), 1u);
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(answers_[0]);
}

TEST_F(BackendChannelTest, Bad_AnswerWithoutTheReplyFlagOrOfAnotherVersion) {
    for (const uint32_t flags :
         {kVersion, kFlagReply, 2u | kFlagReply, kVersion | kFlagReply | 8}) {
        BackendChannel channel(*loop_, [this](const Error& why) { broken_.push_back(why); });
        testing::SocketPair pair;
        ASSERT_TRUE(channel.attach(std::move(pair.ours)));
        broken_.clear();
        channel.request(BackendRequest::kShmemMap, {}, -1,
                        [](Result<void> result) { EXPECT_FALSE(result); });
        answer(pair.theirs.get(), BackendRequest::kShmemMap, 0, flags);
        turn(*loop_);
        EXPECT_EQ(broken_.size(), 1u) << flags;
    }
}

TEST_F(BackendChannelTest, Bad_AnswerOfAnotherLength) {
    for (const uint32_t size : {0u, 4u, 9u, 40u, 0xffffffffu}) {
        BackendChannel channel(*loop_, [this](const Error& why) { broken_.push_back(why); });
        testing::SocketPair pair;
        ASSERT_TRUE(channel.attach(std::move(pair.ours)));
        broken_.clear();
        const Header header{9, kVersion | kFlagReply, size};
        ASSERT_GT(::send(pair.theirs.get(), &header, sizeof(header), MSG_NOSIGNAL), 0);
        turn(*loop_);
        EXPECT_EQ(broken_.size(), 1u) << size;
    }
}

TEST_F(BackendChannelTest, Bad_HalfAnAnswerIsWaitedFor) {
    request();
    const uint32_t half = 10;
    ASSERT_GT(::send(peer_.get(), &half, sizeof(half), MSG_NOSIGNAL), 0);
    turn(*loop_);
    EXPECT_TRUE(broken_.empty());
    EXPECT_EQ(channel_.outstanding(), 1u);
}

}  // namespace
}  // namespace swede::vhost_user
