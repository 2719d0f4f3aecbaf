// SPDX-License-Identifier: Apache-2.0
#include "swede/child_output.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "base/fd.h"

namespace swede {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxText = size_t{1} << 20;  // bytes

/// Starts a child in a process group of its own whose standard output is the returned pipe.
template <typename Body>
Result<UniqueFd> start_child(pid_t& child, Body body) {
    std::array<int, 2> ends{-1, -1};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno("Cannot create a pipe", errno);
    UniqueFd from(ends[0]);
    const UniqueFd to(ends[1]);
    std::fflush(nullptr);
    child = ::fork();
    if (child < 0) return fail_errno("Cannot start a process", errno);
    if (child == 0) {
        ::setpgid(0, 0);
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0) ::_exit(127);
        ::dup2(null, STDIN_FILENO);
        ::dup2(to.get(), STDOUT_FILENO);
        body(null);
        std::fflush(nullptr);
        ::_exit(0);
    }
    ::setpgid(child, child);  // the child does it too: whoever comes first
    return from;
}

/// Collects what the child says, then ends it and everything it started.
ChildOutput collect(pid_t child, const UniqueFd& from, std::chrono::milliseconds timeout,
                    const EnoughOutput& enough) {
    const auto deadline = Clock::now() + timeout;
    ChildOutput output;
    bool ended = false;
    while (!ended && output.text.size() < kMaxText && !(enough && enough(output.text))) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        pollfd event{from.get(), POLLIN, 0};
        const int ready = left.count() <= 0 ? 0 : ::poll(&event, 1, static_cast<int>(left.count()));
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            output.timed_out = true;
            break;
        }
        std::array<char, 4096> bytes;
        const ssize_t size = ::read(from.get(), bytes.data(), bytes.size());
        if (size > 0) output.text.append(bytes.data(), static_cast<size_t>(size));
        ended = size <= 0;
    }
    if (!ended) ::kill(-child, SIGKILL);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    ::kill(-child, SIGKILL);  // what the child left behind
    output.failed = ended && (!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    return output;
}

}  // namespace

Result<ChildOutput> run_for_output(const std::vector<std::string>& arguments,
                                   std::chrono::milliseconds timeout, const EnoughOutput& enough) {
    std::vector<char*> words;
    words.reserve(arguments.size() + 1);
    for (const std::string& word : arguments) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    pid_t child = -1;
    const UniqueFd from = SWEDE_TRY(start_child(child, [&](int) {
        ::dup2(STDOUT_FILENO, STDERR_FILENO);
        ::execvp(words[0], words.data());
        ::perror(words[0]);
        ::_exit(127);
    }));
    return collect(child, from, timeout, enough);
}

Result<ChildOutput> run_for_output(const std::function<void()>& function,
                                   std::chrono::milliseconds timeout) {
    pid_t child = -1;
    const UniqueFd from = SWEDE_TRY(start_child(child, [&](int null) {
        ::dup2(null, STDERR_FILENO);
        function();
    }));
    return collect(child, from, timeout, {});
}

}  // namespace swede
