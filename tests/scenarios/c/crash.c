/* Loaded before the C library: ends the process, as a power cut would, at the call that writes whose number CRASH_AT
 * gives, counted from 1. A write is cut in half first. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long calls;

static int is_last(void) {
    static atomic_long last;
    if (last == 0) {
        const char *text = getenv("CRASH_AT");
        last = text ? strtol(text, NULL, 10) : -1;
    }
    return atomic_fetch_add(&calls, 1) + 1 == last;
}

static _Noreturn void end(void) {
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

ssize_t write(int fd, const void *bytes, size_t count) {
    int last = is_last();
    ssize_t done = syscall(SYS_write, fd, bytes, last && count > 1 ? count / 2 : count);
    if (last)
        end();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    int last = is_last();
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, last && count > 1 ? count / 2 : count, at);
    if (last)
        end();
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

static int call(long number, long a, long b, long c, long d) {
    if (is_last())
        end();
    return (int)syscall(number, a, b, c, d, 0);
}

int fsync(int fd) { return call(SYS_fsync, fd, 0, 0, 0); }
int fdatasync(int fd) { return call(SYS_fdatasync, fd, 0, 0, 0); }
int ftruncate64(int fd, off64_t length) { return call(SYS_ftruncate, fd, length, 0, 0); }
int ftruncate(int fd, off_t length) { return call(SYS_ftruncate, fd, length, 0, 0); }
int rename(const char *from, const char *to) { return call(SYS_renameat, AT_FDCWD, (long)from, AT_FDCWD, (long)to); }
int unlink(const char *path) { return call(SYS_unlinkat, AT_FDCWD, (long)path, 0, 0); }
