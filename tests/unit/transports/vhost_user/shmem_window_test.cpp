// SPDX-License-Identifier: Apache-2.0
#include "transports/vhost_user/shmem_window.h"

#include <gtest/gtest.h>

#include "peer.h"
#include "unit/rutabaga/queued_sink.h"

namespace swede::vhost_user {
namespace {

using rutabaga::testing::Answer;
using rutabaga::testing::QueuedSink;
using testing::answer;
using testing::receive;

constexpr uint64_t kSize = 64 << 20;

class ShmemWindowTest : public ::testing::Test {
  protected:
    ShmemWindowTest() {
        EXPECT_TRUE(channel_.attach(std::move(pair_.ours)));
        peer_ = std::move(pair_.theirs);
        window_.set_negotiated(true);
    }
    rutabaga::SharedMemory memory(uint64_t size = 4096, uint64_t offset = 0) {
        return {file_.duplicate(), offset, size};
    }
    Answer<> map(uint64_t offset, uint64_t size = 4096) {
        Answer<> answer;
        window_.map(offset, memory(size), answer.completion(sink_));
        return answer;
    }
    Answer<> unmap(uint64_t offset, uint64_t size = 4096) {
        Answer<> answer;
        window_.unmap(offset, size, answer.completion(sink_));
        return answer;
    }
    void reply(BackendRequest request, uint64_t status = 0) {
        answer(peer_.get(), request, status);
        settle();
    }
    void settle() {
        testing::turn(*loop_);
        sink_->run_all();
    }
    /// The next request's range, as text: "map 0x1000".
    std::string next() {
        const auto sent = receive(peer_.get());
        if (!sent) return "nothing";
        return fmt::format("{} {:#x}", sent->header.request == 9 ? "map" : "unmap",
                           sent->as<ShmemMap>().shm_offset);
    }
    Answer<> mapped(uint64_t offset) {
        auto answer = map(offset);
        EXPECT_TRUE(receive(peer_.get()));
        reply(BackendRequest::kShmemMap);
        EXPECT_TRUE(answer.ok());
        return answer;
    }

    std::unique_ptr<EventLoop> loop_ = EventLoop::create().value();
    std::shared_ptr<QueuedSink> sink_ = std::make_shared<QueuedSink>();
    BackendChannel channel_{*loop_, [](const Error&) {}};
    ShmemWindow window_{channel_, kSize};
    testing::SocketPair pair_;
    UniqueFd peer_;
    UniqueFd file_ = create_memfd("blob", 1 << 20).value();
};

TEST_F(ShmemWindowTest, Map_SendsTheFileAndAnswersWithTheFrontEnd) {
    Answer<> answer;
    window_.map(0x3000, memory(0x2000, 0x1000), answer.completion(sink_));
    const auto sent = receive(peer_.get());
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->header.request, 9u);
    ASSERT_EQ(sent->fds.size(), 1u);
    const auto payload = sent->as<ShmemMap>();
    EXPECT_EQ(payload.shmid, 1);
    EXPECT_EQ(payload.fd_offset, 0x1000u);
    EXPECT_EQ(payload.shm_offset, 0x3000u);
    EXPECT_EQ(payload.length, 0x2000u);
    EXPECT_EQ(payload.flags, 1u);
    settle();
    EXPECT_EQ(answer.count(), 0);
    reply(BackendRequest::kShmemMap);
    EXPECT_TRUE(answer.ok());
}

TEST_F(ShmemWindowTest, Unmap_NamesTheExactRangeWithoutAFile) {
    mapped(0x1000);
    auto answer = unmap(0x1000);
    const auto sent = receive(peer_.get());
    ASSERT_TRUE(sent);
    EXPECT_EQ(sent->header.request, 10u);
    EXPECT_TRUE(sent->fds.empty());
    EXPECT_EQ(sent->as<ShmemMap>().shm_offset, 0x1000u);
    EXPECT_EQ(sent->as<ShmemMap>().length, 4096u);
    reply(BackendRequest::kShmemUnmap);
    EXPECT_TRUE(answer.ok());
}

TEST_F(ShmemWindowTest, Map_ARefusalIsAnError) {
    auto answer = map(0);
    reply(BackendRequest::kShmemMap, 1);
    EXPECT_TRUE(answer.failed(ErrorCode::kOutOfMemory));
}

TEST_F(ShmemWindowTest, Map_ManyAreOutAtOnce) {
    std::vector<Answer<>> answers;
    for (uint64_t i = 0; i < 100; ++i) answers.push_back(map(i * 4096));
    for (uint64_t i = 0; i < 100; ++i) {
        EXPECT_EQ(next(), fmt::format("map {:#x}", i * 4096));
        reply(BackendRequest::kShmemMap);
    }
    for (const auto& answer : answers) EXPECT_TRUE(answer.ok());
}

TEST_F(ShmemWindowTest, Map_NoMoreThanTheFrontEndSurvives) {
    for (uint64_t i = 0; i < ShmemWindow::kMaxMappings; ++i) mapped(i * 4096);
    auto one_more = map(ShmemWindow::kMaxMappings * 4096);
    settle();
    EXPECT_TRUE(one_more.failed(ErrorCode::kOutOfMemory));
    EXPECT_EQ(next(), "nothing");
    unmap(0);
    next();
    auto too_early = map(0);
    settle();
    EXPECT_TRUE(too_early.failed(ErrorCode::kOutOfMemory)) << "the front end still has the slot";
    reply(BackendRequest::kShmemUnmap);
    mapped(0);
}

TEST_F(ShmemWindowTest, Map_WithoutNegotiationOrChannelIsUnsupported) {
    window_.set_negotiated(false);
    auto first = map(0);
    settle();
    EXPECT_TRUE(first.failed(ErrorCode::kUnsupported));
    window_.set_negotiated(true);
    peer_.reset();
    settle();
    auto second = map(0);
    settle();
    EXPECT_TRUE(second.failed(ErrorCode::kUnsupported));
}

TEST_F(ShmemWindowTest, FrontEnd_ThatClosesTheChannelAnswersAll) {
    auto first = map(0);
    auto second = unmap(0x5000);
    peer_.reset();
    settle();
    EXPECT_EQ(first.count(), 1);
    EXPECT_EQ(second.count(), 1);
    EXPECT_FALSE(first.ok());
}

TEST_F(ShmemWindowTest, Files_AreNotKeptOnceSent) {
    std::vector<Answer<>> answers;
    for (uint64_t i = 0; i < 50; ++i) answers.push_back(map(i * 4096));
    const int probe = ::dup(peer_.get());
    EXPECT_LT(probe, 50) << "fifty duplicates of the file are still open";
    ::close(probe);
}

TEST_F(ShmemWindowTest, Reset_ReliesOnTheFrontEndForWhatItHadMapped) {
    mapped(0);
    window_.reset();
    EXPECT_EQ(next(), "nothing");
    mapped(0);
}

TEST_F(ShmemWindowTest, Reset_UnmapsWhatWasNotAnswered) {
    auto lost = map(0x1000);
    EXPECT_EQ(next(), "map 0x1000");
    window_.reset();
    settle();
    EXPECT_EQ(lost.count(), 1);
    EXPECT_FALSE(lost.ok());
    EXPECT_EQ(next(), "unmap 0x1000");
    auto fresh = map(0x1000);
    EXPECT_EQ(next(), "map 0x1000");
    reply(BackendRequest::kShmemMap);
    EXPECT_EQ(fresh.count(), 0) << "that was the lost one's answer";
    reply(BackendRequest::kShmemUnmap);
    reply(BackendRequest::kShmemMap);
    EXPECT_TRUE(fresh.ok());
    EXPECT_EQ(lost.count(), 1);
}

TEST_F(ShmemWindowTest, Reset_AFrontEndThatKeptAMapIsMadeToDropIt) {
    mapped(0x1000);
    window_.reset();
    auto answer = map(0x1000);
    EXPECT_EQ(next(), "map 0x1000");
    reply(BackendRequest::kShmemMap, 1);
    EXPECT_EQ(answer.count(), 0);
    EXPECT_EQ(next(), "unmap 0x1000");
    EXPECT_EQ(next(), "map 0x1000");
    reply(BackendRequest::kShmemUnmap);
    reply(BackendRequest::kShmemMap);
    EXPECT_TRUE(answer.ok());
}

TEST_F(ShmemWindowTest, Reset_ASecondRefusalIsFinal) {
    mapped(0x1000);
    window_.reset();
    auto answer = map(0x1000);
    reply(BackendRequest::kShmemMap, 1);
    reply(BackendRequest::kShmemUnmap);
    reply(BackendRequest::kShmemMap, 1);
    EXPECT_TRUE(answer.failed(ErrorCode::kOutOfMemory));
    EXPECT_EQ(channel_.outstanding(), 0u);
}

TEST_F(ShmemWindowTest, Reset_SlotsAreFreeAgain) {
    for (int round = 0; round < 3; ++round) {
        for (uint64_t i = 0; i < ShmemWindow::kMaxMappings; ++i) mapped(i * 4096);
        window_.reset();
    }
    mapped(0);
}

TEST_F(ShmemWindowTest, Window_WithoutMemoryHasNoSize) {
    EXPECT_EQ(window_.size(), kSize);
    EXPECT_EQ(window_.max_mappings(), 400u);
    EXPECT_EQ(ShmemWindow(channel_, 0).size(), 0u);
    EXPECT_FALSE(window_.prepare(0, 4096).value().has_value());
}

}  // namespace
}  // namespace swede::vhost_user
