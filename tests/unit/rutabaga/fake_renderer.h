// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rutabaga/renderer.h"
#include "unit/rutabaga/queued_sink.h"

namespace swede::rutabaga::testing {

/// Notes what it is asked, checks that Gpu keeps the contract of Renderer (only ids that were made
/// here and not destroyed), and answers as the test says.
class FakeRenderer final : public Renderer {
  public:
    enum class Mode {
        kNow,    ///< inside the call
        kLater,  ///< at answer_next()
        kError,  ///< inside the call, with `error`
        kDrop,   ///< the Completion dies uncalled
        kNever,  ///< the Completion lives as long as the renderer
    };
    struct Call {
        std::string name;
        ContextId context = 0;
        ResourceId resource = 0;
        friend bool operator==(const Call&, const Call&) = default;
        friend std::ostream& operator<<(std::ostream& out, const Call& call) {
            return out << call.name << "(" << call.context << ", " << call.resource << ")";
        }
    };

    explicit FakeRenderer(std::vector<uint32_t> capset_ids, bool owns_3d = false)
        : owns_3d_(owns_3d) {
        for (const uint32_t id : capset_ids)
            capsets_.push_back({id, 1, std::vector<std::byte>(id % 64)});
    }

    Mode mode = Mode::kNow;
    Error error{ErrorCode::kInvalidParameter, "The test refuses."};
    std::vector<Call> calls;
    std::vector<Fence> fences;
    std::vector<std::byte> submitted;
    BlobInfo blob_info;
    std::function<Result<SharedMemory>()> exported;  ///< what export_blob() answers
    std::map<ResourceId, std::shared_ptr<Backing>> backings;
    AttachedResource last_attached;
    bool wants_memory = false;
    uint64_t attached_memory = 0;  ///< bytes of the last attached resource's file; 0: none
    ContextInfo last_info;
    WindowRange last_range;

    [[nodiscard]] bool was_asked(const Call& call) const {
        return std::ranges::find(calls, call) != calls.end();
    }
    /// Answers the oldest call that was put off. False: none is.
    bool answer_next() {
        if (later_.empty()) return false;
        auto answer = std::move(later_.front());
        later_.pop_front();
        answer();
        return true;
    }
    [[nodiscard]] size_t put_off() const { return later_.size(); }

    std::span<const Capset> capsets() const override { return capsets_; }
    bool owns_3d_resources() const override { return owns_3d_; }
    bool wants_memory_of_attached() const override { return wants_memory; }

    void create_context(ContextId context, const ContextInfo& info, Completion<> done) override {
        note("create_context", context, 0);
        EXPECT_TRUE(contexts_.insert(context).second) << "context " << context << " exists";
        last_info = info;
        if (refuses()) contexts_.erase(context);
        respond(std::move(done));
    }
    void destroy_context(ContextId context, Completion<> done) override {
        note("destroy_context", context, 0);
        EXPECT_EQ(contexts_.erase(context), 1u) << "context " << context << " is unknown";
        respond(std::move(done));
    }
    void attach_resource(ContextId context, ResourceId resource,
                         const AttachedResource& view) override {
        note("attach_resource", context, resource);
        expect_context(context);
        last_attached = view;
        attached_memory = view.memory == nullptr ? 0 : view.memory->size;
        last_attached.memory = nullptr;  // it was ours for the call
    }
    void detach_resource(ContextId context, ResourceId resource) override {
        note("detach_resource", context, resource);
        expect_context(context);
    }
    void create_blob(ContextId context, ResourceId resource, const BlobRequest& request,
                     std::shared_ptr<Backing> backing, Completion<BlobInfo> done) override {
        note("create_blob", context, resource);
        expect_context(context);
        add_resource(resource);
        EXPECT_NE(request.size, 0u);
        EXPECT_EQ(backing == nullptr, request.blob_mem == wire::kBlobMemHost3d);
        if (refuses()) resources_.erase(resource);
        respond(std::move(done), blob_info);
    }
    void create_3d(ResourceId resource, const wire::ResourceCreate3d&, Completion<> done) override {
        note("create_3d", 0, resource);
        EXPECT_TRUE(owns_3d_);
        add_resource(resource);
        if (refuses()) resources_.erase(resource);
        respond(std::move(done));
    }
    void import_3d(ResourceId resource, const wire::ResourceCreate3d& request, SharedMemory memory,
                   Completion<> done) override {
        note("import_3d", 0, resource);
        EXPECT_TRUE(owns_3d_);
        EXPECT_EQ(request.resource_id, resource);
        EXPECT_TRUE(memory.fd);
        add_resource(resource);
        if (refuses()) resources_.erase(resource);
        respond(std::move(done));
    }
    void attach_backing(ResourceId resource, std::shared_ptr<Backing> backing) override {
        note("attach_backing", 0, resource);
        expect_resource(resource);
        backings[resource] = std::move(backing);
    }
    void detach_backing(ResourceId resource) override {
        note("detach_backing", 0, resource);
        expect_resource(resource);
        backings.erase(resource);
    }
    void destroy_resource(ResourceId resource, Completion<> done) override {
        note("destroy_resource", 0, resource);
        EXPECT_EQ(resources_.erase(resource), 1u) << "resource " << resource << " is unknown";
        backings.erase(resource);
        respond(std::move(done));
    }
    void settle_detaches(Completion<> done) override {
        note("settle_detaches", 0, 0);
        respond(std::move(done));
    }
    void export_blob(ResourceId resource, Completion<SharedMemory> done) override {
        note("export_blob", 0, resource);
        expect_resource(resource);
        if (exported)
            respond_with(std::move(done), exported());
        else
            respond_with<SharedMemory>(std::move(done), std::unexpected(error));
    }
    void place_blob(ResourceId resource, const WindowRange& range, Completion<> done) override {
        note("place_blob", 0, resource);
        expect_resource(resource);
        last_range = range;
        respond(std::move(done));
    }
    void displace_blob(ResourceId resource, Completion<> done) override {
        note("displace_blob", 0, resource);
        expect_resource(resource);
        respond(std::move(done));
    }
    void transfer_to_host(ContextId context, ResourceId resource, const wire::TransferHost3d&,
                          Completion<> done) override {
        note("transfer_to_host", context, resource);
        if (context != 0) expect_context(context);
        expect_resource(resource);
        respond(std::move(done));
    }
    void transfer_from_host(ContextId context, ResourceId resource, const wire::TransferHost3d&,
                            Completion<> done) override {
        note("transfer_from_host", context, resource);
        if (context != 0) expect_context(context);
        expect_resource(resource);
        respond(std::move(done));
    }
    Result<void> submit(ContextId context, std::optional<uint8_t>,
                        std::span<const std::byte> commands) override {
        note("submit", context, 0);
        expect_context(context);
        submitted.assign(commands.begin(), commands.end());
        if (mode == Mode::kError) return std::unexpected(error);
        return {};
    }
    void create_fence(const Fence& fence) override {
        expect_context(fence.context);
        fences.push_back(fence);
    }
    void reset(Completion<> done) override {
        note("reset", 0, 0);
        contexts_.clear();
        resources_.clear();
        backings.clear();
        respond(std::move(done));
    }

  private:
    void note(std::string name, ContextId context, ResourceId resource) {
        calls.push_back({std::move(name), context, resource});
    }
    void expect_context(ContextId context) {
        EXPECT_TRUE(contexts_.contains(context)) << "context " << context << " is unknown";
    }
    void expect_resource(ResourceId resource) {
        EXPECT_TRUE(resources_.contains(resource)) << "resource " << resource << " is unknown";
    }
    void add_resource(ResourceId resource) {
        EXPECT_TRUE(resources_.insert(resource).second) << "resource " << resource << " exists";
    }
    [[nodiscard]] bool refuses() const { return mode == Mode::kError || mode == Mode::kDrop; }

    void respond(Completion<> done) { respond_with<void>(std::move(done), {}); }
    template <typename T>
    void respond(Completion<T> done, T value) {
        respond_with<T>(std::move(done), std::move(value));
    }
    template <typename T>
    void respond_with(Completion<T> done, Result<T> result) {
        switch (mode) {
            case Mode::kNow:
                return done(std::move(result));
            case Mode::kLater:
                later_.emplace_back([done = std::move(done), result = std::move(result)]() mutable {
                    done(std::move(result));
                });
                return;
            case Mode::kError:
                return done(std::unexpected(error));
            case Mode::kDrop:
                return;
            case Mode::kNever:
                kept_.emplace_back([done = std::move(done)]() {});
                return;
        }
    }

    bool owns_3d_;
    std::vector<Capset> capsets_;
    std::set<ContextId> contexts_;
    std::set<ResourceId> resources_;
    std::deque<std::move_only_function<void()>> later_;
    std::vector<std::move_only_function<void()>> kept_;
};

}  // namespace swede::rutabaga::testing
