/* Makes a file, writes it and closes it by io_uring alone, in the kernel's own workers. In: a path. 3 where the machine
 * has no io_uring. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct io_uring_params about;
static struct io_uring_sqe *entries;
static char *submitted, *completed;
static int ring;

/* Does one thing, and waits for its result. */
static int perform(struct io_uring_sqe what) {
    unsigned *tail = (unsigned *)(submitted + about.sq_off.tail);
    unsigned *head = (unsigned *)(completed + about.cq_off.head);
    what.flags |= IOSQE_ASYNC;
    entries[0] = what;
    ((unsigned *)(submitted + about.sq_off.array))[*tail & (about.sq_entries - 1)] = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
        return -1;
    struct io_uring_cqe *done = (struct io_uring_cqe *)(completed + about.cq_off.cqes);
    int result = done[*head & (about.cq_entries - 1)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

static void *map(size_t size, off_t at) {
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, at);
}

int main(int argc, char **argv) {
    static char text[] = "by io_uring\n";
    if (argc != 2)
        return 2;
    ring = (int)syscall(SYS_io_uring_setup, 1, &about);
    if (ring < 0) {
        perror("io_uring_setup");
        return 3;
    }
    submitted = map(about.sq_off.array + about.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    completed = map(about.cq_off.cqes + about.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    entries = map(about.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    if (submitted == MAP_FAILED || completed == MAP_FAILED || entries == MAP_FAILED)
        return 1;
    struct io_uring_sqe make = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (uintptr_t)argv[1]};
    make.open_flags = O_WRONLY | O_CREAT | O_TRUNC;
    make.len = 0644;
    int file = perform(make);
    if (file < 0)
        return 1;
    struct io_uring_sqe put = {.opcode = IORING_OP_WRITE, .fd = file, .addr = (uintptr_t)text};
    put.len = sizeof text - 1;
    struct io_uring_sqe end = {.opcode = IORING_OP_CLOSE, .fd = file};
    return perform(put) == (int)put.len && perform(end) == 0 ? 0 : 1;
}
