/* Writes by Linux AIO and keeps the file open. In: a path; then a line. Out: a line when the write is done. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    int fd = open(argv[1], O_WRONLY | O_CLOEXEC);
    aio_context_t context = 0;
    if (fd < 0 || syscall(SYS_io_setup, 1, &context) != 0) {
        perror("aio_write");
        return 1;
    }
    static char text[] = "AIO";
    struct iocb block;
    memset(&block, 0, sizeof block);
    block.aio_lio_opcode = IOCB_CMD_PWRITE;
    block.aio_fildes = fd;
    block.aio_buf = (unsigned long)text;
    block.aio_nbytes = sizeof text - 1;
    struct iocb *blocks[] = {&block};
    struct io_event done;
    if (syscall(SYS_io_submit, context, 1, blocks) != 1 || syscall(SYS_io_getevents, context, 1, 1, &done, NULL) != 1) {
        perror("aio_write");
        return 1;
    }
    puts("written");
    fflush(stdout);
    getchar();
    return 0;
}
