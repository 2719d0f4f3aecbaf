// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <algorithm>
#include <memory>
#include <system_error>
#include <thread>

#include "base/log.h"
#include "renderer_process/client.h"

namespace swede::renderer_process {
namespace {

log::Module log_("renderer_process");

/// Bytes. More than max_queued: some messages cannot be refused. A process that leaves this much
/// unread is lost.
constexpr size_t kMaxUnsent = kMaxRequestPayload + (size_t{1} << 20);
/// For a killed process that nobody waits for; a driver may take seconds to let go of a GPU.
constexpr std::chrono::seconds kBackgroundLimit{60};

void reap_now(const ChildProcess& process, std::chrono::milliseconds limit) {
    if (!reap_within(process, limit))
        log_.error("Renderer process {} was killed and does not end.", process.pid);
}

void reap_in_background(ChildProcess process, std::shared_ptr<std::atomic<size_t>> count) {
    // By pointer: what is moved into a thread that cannot be made would be gone.
    const auto shared = std::make_shared<const ChildProcess>(std::move(process));
    try {
        ++*count;
        std::thread([shared, count] {
            reap_now(*shared, kBackgroundLimit);
            --*count;
        }).detach();
    } catch (const std::system_error&) {
        --*count;
        reap_now(*shared, std::chrono::milliseconds(0));  // its zombie stays until we end
    }
}

}  // namespace

RendererProcess::Child::Child(ChildProcess started)
    : process(std::move(started)),
      socket(std::move(process.socket),
             MessageSocket::Limits{.header_size = sizeof(Header),
                                   .max_payload = kMaxReportPayload,
                                   .max_fds = kMaxFdsInMessage,
                                   .max_unsent = kMaxUnsent},
             payload_size) {}

Result<std::unique_ptr<RendererProcess>> RendererProcess::create(
    EventLoop& loop, virtio::GuestMemory& memory, std::shared_ptr<rutabaga::CompletionSink> sink,
    ClientOptions options) {
    std::unique_ptr<RendererProcess> renderer(
        new RendererProcess(loop, memory, std::move(sink), std::move(options)));
    if (const auto& offer = renderer->options_.offer; offer && offer->known) {
        renderer->offer_known_ = true;
        renderer->capsets_ = offer->capsets;
        renderer->owns_3d_ = offer->owns_3d;
    } else {
        SWEDE_TRY(renderer->start_child());
        SWEDE_TRY(renderer->wait_for_hello());
    }
    memory.add_observer(renderer.get());
    return renderer;
}

RendererProcess::RendererProcess(EventLoop& loop, virtio::GuestMemory& memory,
                                 std::shared_ptr<rutabaga::CompletionSink> sink,
                                 ClientOptions options)
    : loop_(loop),
      memory_(memory),
      sink_(std::move(sink)),
      options_(std::move(options)),
      starts_(options_.start_burst, options_.start_interval),
      timer_(loop, [this] { check_deadlines(); }) {}

RendererProcess::~RendererProcess() {
    memory_.remove_observer(this);
    if (child_) {
        kill_process(child_->process);
        ending_.push_back(Ending{.process = std::move(child_->process),
                                 .generation = child_->generation,
                                 .exit_watch = {},
                                 .limit = nullptr,
                                 .answers = {}});
    }
    for (Ending& ending : ending_) {
        ending.exit_watch.reset();
        if (!reap(ending.process)) {
            if (options_.reap_in_background && options_.offer)
                reap_in_background(std::move(ending.process), options_.offer->reaped);
            else
                reap_now(ending.process, options_.exit_limit);
        }
    }
}

Result<void> RendererProcess::start_child() {
    auto child = std::make_unique<Child>(SWEDE_TRY(options_.start()));
    auto watch =
        loop_.watch(child->socket.fd(), EPOLLIN, [this](uint32_t events) { socket_ready(events); });
    if (!watch) {
        kill_process(child->process);
        reap_now(child->process, options_.exit_limit);
        return std::unexpected(std::move(watch).error());
    }
    child->socket_watch = std::move(*watch);
    child->generation = ++generations_;
    child->hello_deadline = Clock::now() + options_.start_deadline;
    wake_at(child->hello_deadline);
    log_.debug("Started renderer process {}.", child->process.pid);
    child_ = std::move(child);
    for (const auto& region : memory_.regions()) {
        if (!child_) break;
        send_region(*region);
    }
    if (!child_) return std::unexpected(lost_because_);
    return {};
}

Result<void> RendererProcess::want_child() {
    if (child_) return {};
    if (options_.offer && *options_.offer->reaped >= Offer::kMaxReaped)
        return fail(ErrorCode::kOutOfMemory,
                    "{} renderer processes of guests that have gone have not ended yet.",
                    Offer::kMaxReaped);
    const auto wait = starts_.take(Clock::now());
    if (wait > Clock::duration::zero())
        return fail(ErrorCode::kOutOfMemory,
                    "Renderer processes of this guest end too often; one can start in {} ms again.",
                    std::chrono::ceil<std::chrono::milliseconds>(wait).count());
    return start_child();
}

Result<void> RendererProcess::wait_for_hello() {
    while (child_ && !child_->said_hello) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(child_->hello_deadline - Clock::now());
        pollfd readable{child_->socket.fd(), POLLIN, 0};
        if (child_->socket.unsent() != 0) readable.events |= POLLOUT;
        const int ready =
            ::poll(&readable, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
        if (ready > 0)
            socket_ready(static_cast<uint32_t>(readable.revents));  // EPOLLIN is POLLIN, and so on
        else if (left.count() <= 0)
            check_deadlines();
    }
    if (!child_) return std::unexpected(lost_because_);
    return {};
}

void RendererProcess::lose_child(const Error& why) {
    if (!child_) return;
    const std::unique_ptr<Child> child = std::move(child_);
    log_.error("Renderer process {} is lost: {}", child->process.pid, why.message);
    const Error told{ErrorCode::kDeviceLost, "The renderer process is lost: " + why.message};
    lost_because_ = why;
    child->socket_watch.reset();
    kill_process(child->process);
    const EndingPosition ending = end_process(std::move(child->process), child->generation);

    for (auto& [number, request] : std::exchange(requests_, {}))
        if (request.type != Request::kReset)
            ending->answers.push_back(failure_of(std::move(request), told));
    for (auto& [id, context] : contexts_)
        if (context.generation == child->generation && !context.lost) {
            context.lost = true;
            sink_->context_lost(id, told);
        }
    fences_.take_all([&](uint64_t ticket) { sink_->fence_done(ticket); });
    attachments_.clear();
    for (auto& [id, resource] : resources_) resource.backing = 0;
    backings_.clear();
    ping_out_ = false;
    if (auto status = reap(ending->process)) {
        log_.info("Renderer process {} ended with {}.", ending->process.pid, *status);
        process_ended(ending);
    } else if (ending->given_up) {
        give_up(ending);
    }
}

RendererProcess::EndingPosition RendererProcess::end_process(ChildProcess process,
                                                             uint64_t generation) {
    const EndingPosition ending = ending_.insert(
        ending_.end(), Ending{.process = std::move(process),
                              .generation = generation,
                              .exit_watch = {},
                              .limit = std::make_unique<EventLoop::Timer>(loop_, [] {}),
                              .answers = {}});
    if (!ending->process.pidfd) return ending;
    auto watch = loop_.watch(ending->process.pidfd.get(), EPOLLIN, [this, ending](uint32_t) {
        const auto status = reap(ending->process);
        if (!status) return;
        log_.info("Renderer process {} ended with {}.", ending->process.pid, *status);
        process_ended(ending);
    });
    if (watch) ending->exit_watch = std::move(*watch);
    ending->limit = std::make_unique<EventLoop::Timer>(loop_, [this, ending] { give_up(ending); });
    if (!watch || !ending->limit->arm(options_.exit_limit)) ending->given_up = true;
    return ending;
}

void RendererProcess::process_ended(EndingPosition ending) {
    std::vector<Task> answers = std::move(ending->answers);
    ending_.erase(ending);
    for (Task& answer : answers) answer();
    finish_reset_if_over();
}

void RendererProcess::give_up(EndingPosition ending) {
    // A process that was killed runs no code of its own any more; the kernel may take long to clean
    // up behind it. It is reaped when it is done.
    log_.warn("Renderer process {} was killed and has not ended after {} ms.", ending->process.pid,
              options_.exit_limit.count());
    ending->given_up = true;
    for (Task& answer : std::exchange(ending->answers, {})) answer();
    finish_reset_if_over();
}

bool RendererProcess::all_ended() const {
    return std::ranges::all_of(ending_, [](const Ending& ending) { return ending.given_up; });
}

void RendererProcess::after_end(uint64_t generation, Task task) {
    for (Ending& ending : ending_)
        if (ending.generation == generation && !ending.given_up)
            return ending.answers.push_back(std::move(task));
    task();
}

void RendererProcess::finish_reset_if_over() {
    const bool asked = std::ranges::any_of(
        requests_, [](const auto& entry) { return entry.second.type == Request::kReset; });
    if (resets_.empty() || asked || !all_ended()) return;
    for (Task& answer : std::exchange(before_reset_, {})) answer();
    for (rutabaga::Completion<>& done : std::exchange(resets_, {})) done({});
}

void RendererProcess::wake_at(Clock::time_point when) {
    if (timer_due_ && *timer_due_ <= when) return;
    timer_due_ = when;
    if (auto armed = timer_.arm(when - Clock::now()); !armed) {
        timer_due_.reset();
        log_.error("A renderer process is unwatched: {}", armed.error().message);
    }
}

void RendererProcess::check_deadlines() {
    timer_due_.reset();
    if (!child_) return;
    const auto now = Clock::now();
    auto next = Clock::time_point::max();
    const auto passed = [&](Clock::time_point due) {
        next = std::min(next, due);
        return due <= now;
    };
    if (!child_->said_hello && passed(child_->hello_deadline))
        return lose_child(
            Error{ErrorCode::kDeviceLost, fmt::format("It says nothing for {} ms after its start.",
                                                      options_.start_deadline.count())});
    if (!requests_.empty() && passed(requests_.begin()->second.deadline))
        return lose_child(
            Error{ErrorCode::kDeviceLost,
                  fmt::format("It does not answer request {} of type {} in time.",
                              requests_.begin()->first,
                              static_cast<uint32_t>(requests_.begin()->second.type))});
    if (const auto since = child_->stalled_since;
        since && passed(*since + options_.request_deadline))
        return lose_child(
            Error{ErrorCode::kDeviceLost,
                  fmt::format("It leaves {} bytes unread for {} ms.", child_->socket.unsent(),
                              options_.request_deadline.count())});
    // A fence may take long, and then the process still answers. An unanswered ping is a request
    // over its deadline, above.
    if (!fences_.empty() && !ping_out_ &&
        passed(std::max(fences_.oldest(), asked_alive_at_) + options_.fence_limit)) {
        ping_out_ = true;
        asked_alive_at_ = now;
        ask(Request::kPing, {}, std::monostate());
        next = std::min(next, now + options_.fence_limit);
    }
    if (child_ && next != Clock::time_point::max()) wake_at(std::max(next, now));
}

}  // namespace swede::renderer_process
