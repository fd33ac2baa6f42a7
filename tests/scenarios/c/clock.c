/* Loaded before the C library: moves the clock on the wall by as many seconds as the file named in CLOCK_OFFSET says,
 * and leaves the others as they are. The clock is read anew at each call, so that it can be set while a program runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("CLOCK_OFFSET");
    if (result != 0 || clock != CLOCK_REALTIME || path == NULL)
        return (int)result;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    char text[32] = {0};
    if (read(file, text, sizeof text - 1) > 0)
        time->tv_sec += strtol(text, NULL, 10);
    close(file);
    return 0;
}
