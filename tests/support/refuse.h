/* tests/support/refuse.h - makes this process's kernel refuse a system call, as an older or a locked-down one does. */
#ifndef SUPPORT_REFUSE_H
#define SUPPORT_REFUSE_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REFUSE_ANY = -1, CHILD_SKIPPED = 77 };

/* From now on call `nr` fails with `err`: always (REFUSE_ANY), or if its first argument is arg0. For good, so in a child.
 * 0, -1: filters are not allowed here. */
static inline int refuse_call(long nr, long arg0, int err)
{
    uint32_t mask = arg0 == REFUSE_ANY ? 0 : UINT32_MAX;
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)arg0 & mask, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ((uint32_t)err & SECCOMP_RET_DATA)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) ? -1 : 0;
}

/* Runs f in a child, which makes no cmocka assertions. Returns its result, -1 if it crashed. */
static inline int in_child(int (*f)(void))
{
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return -1;
    if (!pid)
        _exit(f());
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

#endif
