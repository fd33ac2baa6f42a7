/* Writes a line and becomes another program that does the same, again and again. In: how often; a file to append to; the
 * programs to become, in turn. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    long count = strtol(argv[1], NULL, 10);
    int file = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || write(file, "x\n", 2) != 2)
        return 1;
    if (count == 0)
        return 0;
    char left[32];
    snprintf(left, sizeof left, "%ld", count - 1);
    argv[1] = left;
    execv(argv[3 + count % (argc - 3)], argv);
    return 1;
}
