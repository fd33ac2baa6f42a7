/* Stores a byte through a shared writable memory map. In: paths, one a line. Out: for each, a line with 1 when the
 * byte was stored, and 0 when the path cannot be written that way. The map is gone before the answer. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int store(const char *path, unsigned turn) {
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return 0;
    struct stat st;
    int done = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        unsigned char *map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) {
            /* Only the first page: the file may shrink meanwhile, and a store beyond its end would be a signal. */
            map[0] ^= 1 + turn % 255;
            munmap(map, st.st_size);
            done = 1;
        }
    }
    close(fd);
    return done;
}

int main(void) {
    char line[4096];
    unsigned turn = 0;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        printf("%d\n", store(line, turn++));
        fflush(stdout);
    }
    return 0;
}
