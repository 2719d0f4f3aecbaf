// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "rutabaga/renderer.h"

namespace swede::virtio_gpu::testing {

/// A renderer in the test's hand: it answers at once, when the test says so, or never. Blobs are
/// memfds filled with their blob id's low byte; pictures of 3D resources are too, with their
/// resource id's, and have rows kRowGap bytes longer than their pixels.
class FakeRenderer final : public rutabaga::Renderer {
  public:
    static constexpr uint32_t kRowGap = 64;  ///< bytes
    /// Which calls keep their answer until answer_all(); by name, "create_blob" for example.
    std::set<std::string> held;
    /// Which calls fail.
    std::map<std::string, Error> failing;
    bool fences_at_once = true;  ///< create_fence() reports at once; else the test does
    bool report_fences = true;   ///< false: fences are never reported by themselves

    struct State {
        std::vector<std::string> calls;  ///< "create_context 1", in order
        std::vector<rutabaga::Fence> fences;
        std::vector<std::vector<std::byte>> submitted;
        std::map<rutabaga::ContextId, rutabaga::ContextInfo> contexts;
        size_t submits = 0;
        bool record = true;  ///< false: only counts, allocates nothing
    };
    State state;

    FakeRenderer(std::shared_ptr<rutabaga::CompletionSink> sink,
                 std::vector<rutabaga::Capset> capsets)
        : sink_(std::move(sink)), capsets_(std::move(capsets)) {}

    /// Answers what was held, in order.
    void answer_all() {
        auto answers = std::exchange(held_answers_, {});
        for (auto& answer : answers) answer();
    }
    [[nodiscard]] size_t unanswered() const { return held_answers_.size(); }
    /// Drops what was held, as a renderer that dies does.
    void drop_all() { held_answers_.clear(); }
    [[nodiscard]] rutabaga::CompletionSink& sink() { return *sink_; }
    /// Bytes of a blob as the renderer sees them, wherever they live.
    [[nodiscard]] std::byte* blob_bytes(rutabaga::ResourceId id) {
        return blobs_.at(id).mapping.data();
    }
    [[nodiscard]] std::byte* picture_bytes(rutabaga::ResourceId id) {
        return pictures_.at(id).mapping.data();
    }
    [[nodiscard]] size_t num_blobs() const { return blobs_.size(); }
    [[nodiscard]] bool called(const std::string& call) const {
        for (const std::string& one : state.calls)
            if (one == call) return true;
        return false;
    }

    std::span<const rutabaga::Capset> capsets() const override { return capsets_; }
    bool owns_3d_resources() const override { return true; }

    void create_context(rutabaga::ContextId context, const rutabaga::ContextInfo& info,
                        rutabaga::Completion<> done) override {
        state.contexts[context] = info;
        note("create_context", context, std::move(done));
    }
    void destroy_context(rutabaga::ContextId context, rutabaga::Completion<> done) override {
        state.contexts.erase(context);
        note("destroy_context", context, std::move(done));
    }
    void attach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource,
                         const rutabaga::AttachedResource&) override {
        if (state.record)
            state.calls.push_back("attach_resource " + std::to_string(context) + " " +
                                  std::to_string(resource));
    }
    void detach_resource(rutabaga::ContextId context, rutabaga::ResourceId resource) override {
        if (state.record)
            state.calls.push_back("detach_resource " + std::to_string(context) + " " +
                                  std::to_string(resource));
    }
    void create_blob(rutabaga::ContextId, rutabaga::ResourceId resource,
                     const rutabaga::BlobRequest& request, std::shared_ptr<Backing>,
                     rutabaga::Completion<rutabaga::BlobInfo> done) override {
        auto blob = make_blob(request.size, request.blob_id);
        if (!blob) return done(std::unexpected(blob.error()));
        blobs_[resource] = *std::move(blob);
        note("create_blob", resource, std::move(done), rutabaga::BlobInfo{});
    }
    void create_3d(rutabaga::ResourceId resource, const wire::ResourceCreate3d& request,
                   rutabaga::Completion<> done) override {
        if (state.record && request.width <= 256 && request.height <= 256) {
            const uint32_t stride = request.width * 4 + kRowGap;
            auto picture = make_blob(uint64_t{stride} * request.height, resource);
            if (!picture) return done(std::unexpected(picture.error()));
            picture->stride = stride;
            pictures_[resource] = *std::move(picture);
        }
        note("create_3d", resource, std::move(done));
    }
    void attach_backing(rutabaga::ResourceId, std::shared_ptr<Backing>) override {}
    void detach_backing(rutabaga::ResourceId) override {}
    void destroy_resource(rutabaga::ResourceId resource, rutabaga::Completion<> done) override {
        blobs_.erase(resource);
        pictures_.erase(resource);
        note("destroy_resource", resource, std::move(done));
    }
    void export_blob(rutabaga::ResourceId resource,
                     rutabaga::Completion<rutabaga::SharedMemory> done) override {
        const auto picture = pictures_.find(resource);
        const Blob& blob = picture != pictures_.end() ? picture->second : blobs_.at(resource);
        note("export_blob", resource, std::move(done),
             rutabaga::SharedMemory{(blob.window ? blob.window : blob.fd).duplicate(),
                                    blob.window_offset, blob.size, blob.stride});
    }
    void place_blob(rutabaga::ResourceId resource, const rutabaga::WindowRange& range,
                    rutabaga::Completion<> done) override {
        if (!failing.contains("place_blob")) {
            Blob& blob = blobs_.at(resource);
            auto there = Mapping::own_file(range.fd, range.offset, range.size, Access::kReadWrite);
            if (!there) return done(std::unexpected(there.error()));
            placed_on_zeroes = placed_on_zeroes && there->data()[0] == std::byte{0};
            std::memcpy(there->data(), blob.mapping.data(), blob.size);
            blob.mapping = *std::move(there);
            blob.window = UniqueFd(::fcntl(range.fd, F_DUPFD_CLOEXEC, 0));
            blob.window_offset = range.offset;
        }
        note("place_blob", resource, std::move(done));
    }
    void displace_blob(rutabaga::ResourceId resource, rutabaga::Completion<> done) override {
        Blob& blob = blobs_.at(resource);
        auto home = Mapping::own_file(blob.fd.get(), 0, blob.size, Access::kReadWrite);
        if (!home) return done(std::unexpected(home.error()));
        std::memcpy(home->data(), blob.mapping.data(), blob.size);
        blob.mapping = *std::move(home);
        blob.window.reset();
        blob.window_offset = 0;
        note("displace_blob", resource, std::move(done));
    }
    void transfer_to_host(rutabaga::ContextId, rutabaga::ResourceId resource,
                          const wire::TransferHost3d&, rutabaga::Completion<> done) override {
        note("transfer_to_host", resource, std::move(done));
    }
    void transfer_from_host(rutabaga::ContextId, rutabaga::ResourceId resource,
                            const wire::TransferHost3d&, rutabaga::Completion<> done) override {
        note("transfer_from_host", resource, std::move(done));
    }
    Result<void> submit(rutabaga::ContextId context, std::optional<uint8_t>,
                        std::span<const std::byte> commands) override {
        ++state.submits;
        if (state.record) {
            state.calls.push_back("submit " + std::to_string(context));
            state.submitted.emplace_back(commands.begin(), commands.end());
        }
        if (const auto found = failing.find("submit"); found != failing.end())
            return std::unexpected(found->second);
        return {};
    }
    void create_fence(const rutabaga::Fence& fence) override {
        if (state.record) state.fences.push_back(fence);
        if (report_fences && fences_at_once) sink_->fence_done(fence.ticket);
    }
    void reset(rutabaga::Completion<> done) override {
        blobs_.clear();
        pictures_.clear();
        state.contexts.clear();
        note("reset", 0, std::move(done));
    }

    bool placed_on_zeroes = true;  ///< every range read as zero when it was given out

  private:
    struct Blob {
        UniqueFd fd;
        uint64_t size = 0;
        Mapping mapping;  ///< of where it lives
        UniqueFd window;  ///< empty: it is not placed
        uint64_t window_offset = 0;
        uint32_t stride = 0;  ///< of a picture
    };

    [[nodiscard]] static Result<Blob> make_blob(uint64_t size, uint64_t id) {
        Blob blob;
        blob.size = (size + 4095) / 4096 * 4096;
        blob.fd = SWEDE_TRY(create_memfd("fake-blob", blob.size));
        blob.mapping =
            SWEDE_TRY(Mapping::own_file(blob.fd.get(), 0, blob.size, Access::kReadWrite));
        std::memset(blob.mapping.data(), static_cast<int>(id & 0xff), blob.size);
        return blob;
    }

    template <typename T, typename... Value>
    void note(const std::string& call, uint32_t id, rutabaga::Completion<T> done, Value... value) {
        if (state.record) state.calls.push_back(call + " " + std::to_string(id));
        Result<T> result = [&]() -> Result<T> {
            if (const auto found = failing.find(call); found != failing.end())
                return std::unexpected(found->second);
            if constexpr (std::is_void_v<T>)
                return {};
            else
                return Result<T>(std::move(value)...);
        }();
        if (!held.contains(call)) return done(std::move(result));
        held_answers_.push_back([done = std::move(done), result = std::move(result)]() mutable {
            done(std::move(result));
        });
    }

    std::shared_ptr<rutabaga::CompletionSink> sink_;
    std::vector<rutabaga::Capset> capsets_;
    std::map<rutabaga::ResourceId, Blob> blobs_;
    std::map<rutabaga::ResourceId, Blob> pictures_;
    std::vector<std::move_only_function<void()>> held_answers_;
};

}  // namespace swede::virtio_gpu::testing
