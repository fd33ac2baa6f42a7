/* Runs a program to which the kernel refuses bpf(2), as it does where a lockdown or a container's rules say so, and with
 * `netlink` also its netlink sockets. In: `bpf` or `netlink`; the program with its arguments. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WORD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS_NOT(value, skipped) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skipped)
#define ANSWER(value) BPF_STMT(BPF_RET | BPF_K, value)

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    unsigned netlink = strcmp(argv[1], "netlink") == 0 ? SECCOMP_RET_ERRNO | EPERM : SECCOMP_RET_ALLOW;
    struct sock_filter rules[] = {
        WORD(nr),
        IS_NOT(SYS_bpf, 1),
        ANSWER(SECCOMP_RET_ERRNO | EPERM),
        IS_NOT(SYS_socket, 3),
        WORD(args[0]),
        IS_NOT(AF_NETLINK, 1),
        ANSWER(netlink),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror("without_bpf");
        return 1;
    }
    execvp(argv[2], argv + 2);
    return 1;
}
