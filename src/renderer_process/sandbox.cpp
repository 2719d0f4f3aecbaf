// SPDX-License-Identifier: Apache-2.0
#include "renderer_process/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>
#include <type_traits>

#include "renderer_process/file_rules.h"

namespace swede::renderer_process {
namespace {

/// Kinds, as bits of a row.
constexpr uint8_t kMemory = 1 << static_cast<unsigned>(Sandbox::kMemoryOnly);
constexpr uint8_t kGraphics = 1 << static_cast<unsigned>(Sandbox::kGraphics);
constexpr uint8_t kAll = kMemory | kGraphics;

/// A test on one argument: `argument` & `mask` == `value`.
struct Condition {
    unsigned argument;
    uint64_t mask;
    uint64_t value;
};

struct Row {
    int call;
    uint8_t kinds;
    std::optional<Condition> condition = std::nullopt;
};

/// The command of fcntl(): an int, whose upper half the kernel does not look at.
constexpr Condition is_command(int command) {
    return {1, 0xffffffff, static_cast<uint64_t>(command)};
}

/// pthread_create's flags; without CLONE_THREAD it would be fork.
constexpr uint64_t kCloneThread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;

/// ioctl()'s of one driver, by the letter in the second byte of their numbers. Those of terminals
/// are 'T': a renderer may hold one as stderr and must not type into it.
constexpr Condition of_driver(uint64_t letter) {
    return {1, 0xff00, letter << 8};
}

/// KFD has 'K' as a console has it, for its keyboard and font; KFD's numbers alone say in which
/// direction they copy.
constexpr Condition of_kfd(uint64_t direction) {
    return {1, direction << _IOC_DIRSHIFT | 0xff00, direction << _IOC_DIRSHIFT | 'K' << 8};
}

constexpr Row kRows[] = {
    // Memory. Only drivers, which translate shaders, make it executable: elsewhere an attacker
    // brings no code of his own.
    {SCMP_SYS(mmap), kGraphics},
    {SCMP_SYS(mprotect), kGraphics},
    {SCMP_SYS(brk), kAll},
    {SCMP_SYS(mmap), kMemory, Condition{2, PROT_EXEC, 0}},
    {SCMP_SYS(mprotect), kMemory, Condition{2, PROT_EXEC, 0}},
    {SCMP_SYS(mremap), kAll},
    {SCMP_SYS(munmap), kAll},
    {SCMP_SYS(madvise), kAll},
    {SCMP_SYS(memfd_create), kAll},
    {SCMP_SYS(ftruncate), kAll},
    {SCMP_SYS(fallocate), kAll},
    // Fds that it holds.
    {SCMP_SYS(close), kAll},
    {SCMP_SYS(dup), kAll},
    // Not F_SETOWN and F_SETSIG: they would let a socket send any signal to the device process.
    {SCMP_SYS(fcntl), kAll, is_command(F_DUPFD_CLOEXEC)},
    {SCMP_SYS(fcntl), kAll, is_command(F_GETFD)},
    {SCMP_SYS(fcntl), kAll, is_command(F_GETFL)},
    {SCMP_SYS(fcntl), kAll, is_command(F_SETFL)},
    {SCMP_SYS(fcntl), kAll, is_command(F_ADD_SEALS)},
    {SCMP_SYS(fcntl), kAll, is_command(F_GET_SEALS)},
    {SCMP_SYS(fstat), kAll},
    {SCMP_SYS(fstatfs), kAll},
    // glibc's fstat(); the flag makes the kernel take the fd when the path is empty.
    {SCMP_SYS(newfstatat), kAll, Condition{3, AT_EMPTY_PATH, AT_EMPTY_PATH}},
    {SCMP_SYS(lseek), kAll},
    {SCMP_SYS(read), kAll},
    {SCMP_SYS(readv), kAll},
    {SCMP_SYS(pread64), kAll},
    {SCMP_SYS(write), kAll},
    {SCMP_SYS(writev), kAll},
    {SCMP_SYS(pwrite64), kAll},
    // Reaches nobody else; UBSan finds out with it whether an address can be read.
    {SCMP_SYS(pipe), kAll},
    {SCMP_SYS(pipe2), kAll},
    {SCMP_SYS(recvmsg), kAll},
    {SCMP_SYS(sendmsg), kAll},
    {SCMP_SYS(shutdown), kAll},
    // Waiting.
    {SCMP_SYS(epoll_create1), kAll},
    {SCMP_SYS(epoll_ctl), kAll},
    {SCMP_SYS(epoll_pwait), kAll},
    {SCMP_SYS(epoll_wait), kAll},
    {SCMP_SYS(eventfd2), kAll},
    {SCMP_SYS(poll), kAll},
    {SCMP_SYS(ppoll), kAll},
    {SCMP_SYS(timerfd_create), kAll},
    {SCMP_SYS(timerfd_settime), kAll},
    {SCMP_SYS(timerfd_gettime), kAll},
    {SCMP_SYS(clock_gettime), kAll},
    {SCMP_SYS(clock_nanosleep), kAll},
    {SCMP_SYS(nanosleep), kAll},
    {SCMP_SYS(pause), kAll},
    {SCMP_SYS(restart_syscall), kAll},
    // Threads.
    {SCMP_SYS(clone), kAll, Condition{0, kCloneThread, kCloneThread}},
    {SCMP_SYS(exit), kAll},
    {SCMP_SYS(exit_group), kAll},
    {SCMP_SYS(futex), kAll},
    {SCMP_SYS(getpid), kAll},
    {SCMP_SYS(getppid), kAll},
    {SCMP_SYS(gettid), kAll},
    {SCMP_SYS(rseq), kAll},
    {SCMP_SYS(sched_getaffinity), kAll},
    {SCMP_SYS(sched_yield), kAll},
    {SCMP_SYS(set_robust_list), kAll},
    // Thread names only: no prctl undoes what prepare_process() did, but some read other state.
    {SCMP_SYS(prctl), kAll, Condition{0, ~uint64_t{0}, PR_SET_NAME}},
    // Signals: the SIGBUS guard, and abort(). tgkill is added with our own process id.
    {SCMP_SYS(rt_sigaction), kAll},
    {SCMP_SYS(rt_sigprocmask), kAll},
    {SCMP_SYS(rt_sigreturn), kAll},
    {SCMP_SYS(sigaltstack), kAll},
    {SCMP_SYS(getrandom), kAll},
    // What graphics drivers want beside. Files: to look, and to open what is there; Landlock says
    // where (file_rules.cpp). Nothing is made, renamed or emptied.
    {SCMP_SYS(openat), kGraphics, Condition{2, O_CREAT | O_TRUNC, 0}},
    {SCMP_SYS(open), kGraphics, Condition{1, O_CREAT | O_TRUNC, 0}},
    {SCMP_SYS(newfstatat), kGraphics},
    {SCMP_SYS(stat), kGraphics},
    {SCMP_SYS(lstat), kGraphics},
    {SCMP_SYS(statx), kGraphics},
    {SCMP_SYS(statfs), kGraphics},
    {SCMP_SYS(access), kGraphics},
    {SCMP_SYS(faccessat), kGraphics},
    {SCMP_SYS(faccessat2), kGraphics},
    {SCMP_SYS(readlink), kGraphics},
    {SCMP_SYS(readlinkat), kGraphics},
    {SCMP_SYS(getdents64), kGraphics},
    {SCMP_SYS(getcwd), kGraphics},
    {SCMP_SYS(fadvise64), kGraphics},
    {SCMP_SYS(flock), kGraphics},
    {SCMP_SYS(fcntl), kGraphics, is_command(F_SETFD)},
    {SCMP_SYS(fcntl), kGraphics, is_command(F_DUPFD)},
    // DRM, dma-buf, sync_file, udmabuf; KFD; NVIDIA's control, mode-setting and (plain numbers)
    // unified memory.
    {SCMP_SYS(ioctl), kGraphics, of_driver('d')},
    {SCMP_SYS(ioctl), kGraphics, of_driver('b')},
    {SCMP_SYS(ioctl), kGraphics, of_driver('>')},
    {SCMP_SYS(ioctl), kGraphics, of_driver('u')},
    {SCMP_SYS(ioctl), kGraphics, of_kfd(_IOC_READ)},
    {SCMP_SYS(ioctl), kGraphics, of_kfd(_IOC_WRITE)},
    {SCMP_SYS(ioctl), kGraphics, of_driver('F')},
    {SCMP_SYS(ioctl), kGraphics, of_driver('m')},
    {SCMP_SYS(ioctl), kGraphics, of_driver(0)},
    // Memory and threads of its own.
    {SCMP_SYS(msync), kGraphics},
    {SCMP_SYS(mincore), kGraphics},
    {SCMP_SYS(mlock), kGraphics},
    {SCMP_SYS(munlock), kGraphics},
    {SCMP_SYS(membarrier), kGraphics},
    {SCMP_SYS(get_mempolicy), kGraphics},
    {SCMP_SYS(prctl), kGraphics, Condition{0, ~uint64_t{0}, PR_GET_NAME}},
    {SCMP_SYS(prctl), kGraphics, Condition{0, ~uint64_t{0}, PR_SET_VMA}},
    {SCMP_SYS(prlimit64), kGraphics, Condition{2, ~uint64_t{0}, 0}},  // reading alone
    {SCMP_SYS(getrlimit), kGraphics},
    {SCMP_SYS(getrusage), kGraphics},
    {SCMP_SYS(clock_getres), kGraphics},
    {SCMP_SYS(sched_getparam), kGraphics},
    {SCMP_SYS(sched_getscheduler), kGraphics},
    {SCMP_SYS(getcpu), kGraphics},
    {SCMP_SYS(sysinfo), kGraphics},
    {SCMP_SYS(uname), kGraphics},
    {SCMP_SYS(getuid), kGraphics},
    {SCMP_SYS(geteuid), kGraphics},
    {SCMP_SYS(getgid), kGraphics},
    {SCMP_SYS(getegid), kGraphics},
    {SCMP_SYS(select), kGraphics},
    {SCMP_SYS(pselect6), kGraphics},
};

using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, decltype(&seccomp_release)>;

Result<void> check(int error, const char* what) {
    if (error == 0) return {};
    return fail_errno(fmt::format("Cannot {} the sandbox", what), -error);
}

Result<void> allow(const Filter& filter, const Row& row) {
    if (!row.condition)
        return check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, row.call, 0, nullptr),
                     "fill");
    const scmp_arg_cmp compare{row.condition->argument, SCMP_CMP_MASKED_EQ, row.condition->mask,
                               row.condition->value};
    return check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, row.call, 1, &compare),
                 "fill");
}

Result<void> limit(__rlimit_resource resource, uint64_t value) {
    rlimit limits{};
    if (::getrlimit(resource, &limits) != 0) return fail_errno("Cannot read a limit", errno);
    limits.rlim_max = std::min<rlim_t>(limits.rlim_max, value);
    limits.rlim_cur = limits.rlim_max;
    if (::setrlimit(resource, &limits) != 0) return fail_errno("Cannot set a limit", errno);
    return {};
}

}  // namespace

Result<void> prepare_process(Sandbox kind) {
    // A parent that has gone before this line is seen as a hang-up of the socket.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return fail_errno("Cannot follow the device process", errno);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail_errno("Cannot give up new privileges", errno);
    if (::prctl(PR_SET_DUMPABLE, 0) != 0) return fail_errno("Cannot forbid dumps", errno);
    SWEDE_TRY(limit(RLIMIT_CORE, 0));
    SWEDE_TRY(limit(RLIMIT_NOFILE, kMaxRendererFds));
    // Before drivers are loaded, since it holds for the threads that come after.
    if (kind == Sandbox::kGraphics) return restrict_files();
    return {};
}

Result<void> enter_sandbox(Sandbox kind) {
    const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), &seccomp_release);
    if (!filter) return fail(ErrorCode::kOutOfMemory, "Cannot create the sandbox.");
    const auto bit = static_cast<uint8_t>(1u << static_cast<unsigned>(kind));
    for (const Row& row : kRows)
        if ((row.kinds & bit) != 0) SWEDE_TRY(allow(filter, row));
    SWEDE_TRY(allow(filter, Row{SCMP_SYS(tgkill), kAll,
                                Condition{0, 0xffffffff, static_cast<uint64_t>(::getpid())}}));
    // glibc tries clone3 first, whose flags lie in memory where no filter can look; it falls back
    // to clone when the kernel does not know clone3.
    SWEDE_TRY(
        check(seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "fill"));
    SWEDE_TRY(check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1), "set up"));
    return check(seccomp_load(filter.get()), "enter");
}

}  // namespace swede::renderer_process
