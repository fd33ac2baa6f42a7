/* Calls itself something else in every way that it can, removes its own executable, and writes. In: the name; a file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char own[4096];
    if (argc != 3)
        return 2;
    ssize_t size = readlink("/proc/self/exe", own, sizeof own - 1);
    if (size < 0)
        return 1;
    own[size] = 0;
    char *file = strdup(argv[2]);
    prctl(PR_SET_NAME, argv[1]);
    size_t room = strlen(argv[0]);
    strncpy(argv[0], argv[1], room);
    memset(argv[2], 'x', strlen(argv[2]));
    if (unlink(own) != 0)
        return 1;
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    return fd >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0 ? 0 : 1;
}
