/* Exchanges the first blocks of two files of an ext4 below their times. In: a file, and the donor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/types.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct move_extent {
    __u32 reserved, donor_fd;
    __u64 orig_start, donor_start, len, moved_len;
};
#define EXT4_IOC_MOVE_EXT _IOWR('f', 15, struct move_extent)

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    int orig = open(argv[1], O_RDWR), donor = open(argv[2], O_RDWR);
    struct move_extent move = {.donor_fd = donor, .len = 1};
    if (orig < 0 || donor < 0 || ioctl(orig, EXT4_IOC_MOVE_EXT, &move) != 0) {
        perror("move_extents");
        return 1;
    }
    printf("%llu\n", (unsigned long long)move.moved_len);
    return 0;
}
