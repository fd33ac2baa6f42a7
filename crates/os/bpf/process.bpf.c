// Which process begins, becomes another program, and ends, told before it can write anything.
//
// `cargo xtask bpf` makes process.bpf.o of this, with clang; the object is kept beside it, so that nobody needs clang
// to build Waxseal. What the records mean is in src/process/record.rs; the two must agree.
//
// Types of the kernel are declared with nothing but the fields that are used: the loader finds where they really are
// from the kernel's own description of its types (BTF). Needs Linux 5.8 (ring buffers, and types of tracepoints).

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define KERNEL __attribute__((preserve_access_index))

// Helpers of the kernel, by their numbers in include/uapi/linux/bpf.h.
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*bpf_ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;
static u64 (*bpf_ringbuf_query)(void *map, u64 flags) = (void *)134;

#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_RB_AVAIL_DATA 0

struct qstr {
    const u8 *name;
} KERNEL;
struct dentry {
    struct dentry *d_parent;
    struct qstr d_name;
} KERNEL;
struct vfsmount {
    struct dentry *mnt_root;
} KERNEL;
struct mount {
    struct mount *mnt_parent;
    struct dentry *mnt_mountpoint;
    struct vfsmount mnt;
} KERNEL;
struct path {
    struct vfsmount *mnt;
    struct dentry *dentry;
} KERNEL;
struct super_block {
    u32 s_dev;
} KERNEL;
struct inode {
    struct super_block *i_sb;
    unsigned long i_ino;
} KERNEL;
struct file {
    struct path f_path;
    struct inode *f_inode;
    void *private_data;
} KERNEL;
struct fdtable {
    u32 max_fds;
    struct file **fd;
} KERNEL;
struct files_struct {
    struct fdtable *fdt;
} KERNEL;
struct list_head {
    struct list_head *next;
} KERNEL;
struct fsnotify_group {
    struct list_head notification_list;
    u32 q_len;
} KERNEL;
struct fsnotify_event {
    struct list_head list;
} KERNEL;
struct upid {
    int nr;
} KERNEL;
struct pid {
    struct upid numbers[1];
} KERNEL;
struct fanotify_event {
    struct fsnotify_event fse;
    struct pid *pid;
} KERNEL;
struct mm_struct {
    struct file *exe_file;
    unsigned long arg_start;
    unsigned long arg_end;
} KERNEL;
typedef struct {
    u32 val;
} kuid_t;
struct cred {
    kuid_t euid;
} KERNEL;
typedef struct {
    int counter;
} atomic_t;
struct signal_struct {
    atomic_t live;
} KERNEL;
struct kernfs_node {
    u64 id;
} KERNEL;
struct cgroup {
    struct kernfs_node *kn;
} KERNEL;
struct css_set {
    struct cgroup *dfl_cgrp;
} KERNEL;
struct task_struct {
    int pid;
    int tgid;
    u32 flags;
    u64 start_boottime;
    struct task_struct *group_leader;
    struct mm_struct *mm;
    const struct cred *cred;
    struct signal_struct *signal;
    struct css_set *cgroups;
    struct files_struct *files;
    kuid_t loginuid;
    u32 sessionid;
} KERNEL;

#define PF_KTHREAD 0x00200000

enum { FORK = 1, EXEC = 2, EXIT = 3, FREE = 4, CGROUP = 5, MOVED = 6 };
// Something was left out of the path, or of the arguments; it belongs to the kernel; no event of it waited to
// be read.
enum { PATH_CUT = 1, ARGS_CUT = 2, KERNEL_THREAD = 4, ALL_READ = 8 };

// What was not there to be read.
#define UNKNOWN 0xffffffff
// How much of an executable's path is kept, how deep it may lie, and how long each name in it may be.
#define PATH_BYTES 2048
#define PATH_DEPTH 40
#define NAME_BYTES 256
// How much of the arguments is kept.
#define ARGS_BYTES 1024
// How much may wait until somebody who waits for it is woken.
#define WAKE_BYTES (512 * 1024)
#define RING_BYTES (2 * 1024 * 1024)

struct header {
    u64 time;
    u64 start;
    u64 parent_start;
    u64 cgroup;
    u32 pid;
    u32 parent;
    u32 uid;
    u32 login_uid;
    u32 session;
    u16 path_size;
    u16 args_size;
    u16 kind;
    u16 flags;
    // The file that it became.
    u32 device;
    u64 inode;
};

// How far the way to a file has been followed.
struct walk {
    u64 dentry;
    u64 mount;
    u64 size;
};

// Queues of events (fanotify groups) of the process that loads this: it writes which descriptors they have, and then begins
// a thread, upon which they are found.
#define QUEUES 8
// How many events of a queue are looked at.
#define EVENTS_SEEN 32
struct queues {
    u64 process;
    u64 wanted;
    u64 found;
    u64 descriptors[QUEUES];
    u64 groups[QUEUES];
};

struct record {
    struct header header;
    u8 data[PATH_BYTES + NAME_BYTES + ARGS_BYTES];
    struct walk walk;
};

// Maps are described by the types of a variable's members.
struct {
    int (*type)[BPF_MAP_TYPE_RINGBUF];
    int (*max_entries)[RING_BYTES];
} RECORDS SEC(".maps");
struct {
    int (*type)[BPF_MAP_TYPE_ARRAY];
    int (*max_entries)[1];
    u32 *key;
    u64 *value;
} LOST SEC(".maps");
struct {
    int (*type)[BPF_MAP_TYPE_ARRAY];
    int (*max_entries)[1];
    u32 *key;
    struct queues *value;
} EVENTS SEC(".maps");
// One for each program that needs it: two of them may run on one processor at a time, one of them twice may not.
struct {
    int (*type)[BPF_MAP_TYPE_PERCPU_ARRAY];
    int (*max_entries)[3];
    u32 *key;
    struct record *value;
} ROOM SEC(".maps");

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define READ(to, from) bpf_probe_read_kernel(&(to), sizeof(to), &(from))
#define EXISTS(field) __builtin_preserve_field_info(field, 2)

INLINE void send(void *record, u64 size) {
    u64 waiting = bpf_ringbuf_query(&RECORDS, BPF_RB_AVAIL_DATA);
    u64 flags = waiting > WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
    if (bpf_ringbuf_output(&RECORDS, record, size, flags)) {
        u32 first = 0;
        u64 *lost = bpf_map_lookup_elem(&LOST, &first);
        if (lost)
            __sync_fetch_and_add(lost, 1);
    }
}

// Fills in what is true of the process that a task belongs to.
INLINE void describe(struct header *header, struct task_struct *task, u16 kind) {
    struct task_struct *leader = 0;
    const struct cred *cred = 0;
    struct css_set *set = 0;
    struct cgroup *cgroup = 0;
    struct kernfs_node *node = 0;
    u32 flags = 0;
    header->time = bpf_ktime_get_boot_ns();
    header->kind = kind;
    READ(header->pid, task->tgid);
    READ(leader, task->group_leader);
    READ(header->start, leader->start_boottime);
    READ(cred, task->cred);
    READ(header->uid, cred->euid);
    header->login_uid = UNKNOWN;
    header->session = UNKNOWN;
    if (EXISTS(task->loginuid))
        READ(header->login_uid, task->loginuid);
    if (EXISTS(task->sessionid))
        READ(header->session, task->sessionid);
    READ(set, task->cgroups);
    READ(cgroup, set->dfl_cgrp);
    READ(node, cgroup->kn);
    READ(header->cgroup, node->id);
    READ(flags, task->flags);
    if (flags & PF_KTHREAD)
        header->flags |= KERNEL_THREAD;
}

// Finds the queues by their descriptors, when a thread of their process begins another.
INLINE void find_queues(struct task_struct *task, u32 process) {
    u32 first = 0;
    struct queues *queues = bpf_map_lookup_elem(&EVENTS, &first);
    struct files_struct *files = 0;
    struct fdtable *table = 0;
    struct file **list = 0;
    u32 size = 0;
    if (!queues || queues->process != process || queues->found == queues->wanted)
        return;
    READ(files, task->files);
    READ(table, files->fdt);
    READ(list, table->fd);
    READ(size, table->max_fds);
#pragma clang loop unroll(full)
    for (u32 i = 0; i < QUEUES; i++) {
        struct file *file = 0;
        u64 descriptor = queues->descriptors[i], group = 0;
        if (i >= queues->wanted)
            break;
        if (descriptor >= size || bpf_probe_read_kernel(&file, sizeof(file), list + descriptor))
            return;
        if (READ(group, file->private_data) || !group)
            return;
        queues->groups[i] = group;
    }
    queues->found = queues->wanted;
}

// Whether a queue holds no event of a process. When it holds many, or it changes meanwhile, that is not known.
INLINE int has_none_of(struct fsnotify_group *group, u32 process) {
    const u64 inner = __builtin_preserve_field_info(((struct fanotify_event *)0)->fse.list, 0);
    const struct list_head *end = &group->notification_list, *first = 0, *again = 0, *next = 0;
    u32 waiting = 1;
    if (READ(waiting, group->q_len))
        return 0;
    if (!waiting)
        return 1;
    if (READ(first, end->next))
        return 0;
    next = first;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < EVENTS_SEEN; i++) {
        if (next == end)
            return !READ(again, end->next) && again == first;
        struct fanotify_event *event = (struct fanotify_event *)((u64)next - inner);
        struct pid *pid = 0;
        u32 number = 0;
        if (READ(pid, event->pid) || READ(number, pid->numbers[0].nr) || number == process)
            return 0;
        if (READ(next, next->next))
            return 0;
    }
    return 0;
}

// Whether no event of a process waits to be read: all that it did until now has been read then.
INLINE int all_is_read(u32 process) {
    u32 first = 0;
    struct queues *queues = bpf_map_lookup_elem(&EVENTS, &first);
    if (!queues || !queues->found || !EXISTS(((struct fanotify_event *)0)->pid))
        return 0;
#pragma clang loop unroll(disable)
    for (u32 i = 0; i < QUEUES; i++) {
        if (i >= queues->found)
            break;
        if (!has_none_of((struct fsnotify_group *)queues->groups[i], process))
            return 0;
    }
    return 1;
}

// Writes the names on the way to a file, innermost first, each ended by a zero byte; how many bytes that takes.
//
// How far it is stands in memory whose content the kernel's checker does not follow, so that it sees the same state in
// each turn, whichever way the last one took. Otherwise it follows all combinations of all turns, and gives up.
INLINE u32 write_path(struct record *record, struct file *file) {
    const u64 inner = __builtin_preserve_field_info(((struct mount *)0)->mnt, 0);
    volatile struct walk *walk = &record->walk;
    struct dentry *first = 0;
    struct vfsmount *shown = 0;
    READ(first, file->f_path.dentry);
    READ(shown, file->f_path.mnt);
    walk->dentry = (u64)first;
    walk->mount = (u64)shown - inner;
    walk->size = 0;
#pragma clang loop unroll(disable)
    for (int i = 0; i < PATH_DEPTH; i++) {
        struct dentry *dentry = (struct dentry *)walk->dentry, *root = 0, *parent = 0, *point = 0;
        struct mount *mount = (struct mount *)walk->mount, *outer = 0;
        const u8 *name = 0;
        READ(root, mount->mnt.mnt_root);
        READ(parent, dentry->d_parent);
        if (dentry == root) {
            READ(outer, mount->mnt_parent);
            if (!outer || outer == mount)
                return walk->size;
            READ(point, mount->mnt_mountpoint);
            walk->dentry = (u64)point;
            walk->mount = (u64)outer;
            continue;
        }
        if (!parent || parent == dentry)
            return walk->size;
        READ(name, dentry->d_name.name);
        u64 size = walk->size;
        if (size >= PATH_BYTES)
            break;
        long written = bpf_probe_read_kernel_str(&record->data[size], NAME_BYTES, name);
        if (written <= 0 || written > NAME_BYTES)
            break;
        walk->size = size + written;
        walk->dentry = (u64)parent;
    }
    record->header.flags |= PATH_CUT;
    return walk->size;
}

SEC("tp_btf/sched_process_exec")
int process_exec(u64 *context) {
    struct task_struct *task = (struct task_struct *)context[0];
    u32 room = 0;
    struct record *record = bpf_map_lookup_elem(&ROOM, &room);
    if (!record)
        return 0;
    __builtin_memset(&record->header, 0, sizeof(record->header));
    describe(&record->header, task, EXEC);
    if (all_is_read(record->header.pid))
        record->header.flags |= ALL_READ;
    // After that: whatever a reading brings that began later happened later.
    record->header.time = bpf_ktime_get_boot_ns();
    struct mm_struct *mm = 0;
    struct file *exe = 0;
    struct inode *inode = 0;
    struct super_block *filesystem = 0;
    u64 from = 0, to = 0;
    READ(mm, task->mm);
    READ(exe, mm->exe_file);
    READ(inode, exe->f_inode);
    READ(filesystem, inode->i_sb);
    READ(record->header.inode, inode->i_ino);
    READ(record->header.device, filesystem->s_dev);
    READ(from, mm->arg_start);
    READ(to, mm->arg_end);
    u32 path = write_path(record, exe);
    if (path > PATH_BYTES + NAME_BYTES)
        return 0;
    u64 size = to - from;
    if (size > ARGS_BYTES) {
        size = ARGS_BYTES;
        record->header.flags |= ARGS_CUT;
    }
    // The bounds are told again in a way that the kernel's checker remembers.
    asm volatile("" : "+r"(path), "+r"(size));
    if (path > PATH_BYTES + NAME_BYTES || size > ARGS_BYTES)
        return 0;
    if (bpf_probe_read_user(&record->data[path], size, (const void *)from)) {
        size = 0;
        record->header.flags |= ARGS_CUT;
    }
    record->header.path_size = path;
    record->header.args_size = size;
    u64 total = sizeof(record->header) + path + size;
    send(record, total);
    return 0;
}

SEC("tp_btf/sched_process_fork")
int process_fork(u64 *context) {
    struct task_struct *parent = (struct task_struct *)context[0];
    struct task_struct *child = (struct task_struct *)context[1];
    struct task_struct *leader = 0;
    struct header header = {};
    u32 thread = 0;
    describe(&header, child, FORK);
    READ(thread, child->pid);
    // A thread more is no process more.
    if (thread != header.pid) {
        find_queues(parent, header.pid);
        return 0;
    }
    READ(header.parent, parent->tgid);
    READ(leader, parent->group_leader);
    READ(header.parent_start, leader->start_boottime);
    send(&header, sizeof(header));
    return 0;
}

SEC("tp_btf/sched_process_exit")
int process_exit(u64 *context) {
    struct task_struct *task = (struct task_struct *)context[0];
    struct signal_struct *signal = 0;
    struct header header = {};
    int live = 0;
    READ(signal, task->signal);
    READ(live, signal->live.counter);
    // The last of its threads ends the process; two that end at once may both say so.
    if (live > 0)
        return 0;
    describe(&header, task, EXIT);
    send(&header, sizeof(header));
    return 0;
}

SEC("tp_btf/sched_process_free")
int process_free(u64 *context) {
    struct task_struct *task = (struct task_struct *)context[0];
    struct header header = {};
    u32 thread = 0;
    READ(thread, task->pid);
    READ(header.pid, task->tgid);
    if (thread != header.pid)
        return 0;
    header.time = bpf_ktime_get_boot_ns();
    header.kind = FREE;
    READ(header.start, task->start_boottime);
    send(&header, sizeof(header));
    return 0;
}

INLINE void send_path(struct cgroup *cgroup, const u8 *path, struct task_struct *task) {
    u32 room = task ? 2 : 1;
    struct record *record = bpf_map_lookup_elem(&ROOM, &room);
    struct kernfs_node *node = 0;
    if (!record)
        return;
    __builtin_memset(&record->header, 0, sizeof(record->header));
    record->header.kind = CGROUP;
    if (task)
        describe(&record->header, task, MOVED);
    READ(node, cgroup->kn);
    READ(record->header.cgroup, node->id);
    long size = bpf_probe_read_kernel_str(record->data, PATH_BYTES, path);
    if (size <= 0 || size > PATH_BYTES)
        return;
    record->header.path_size = size;
    send(record, sizeof(record->header) + size);
}

SEC("tp_btf/cgroup_mkdir")
int cgroup_made(u64 *context) {
    send_path((struct cgroup *)context[0], (const u8 *)context[1], 0);
    return 0;
}

SEC("tp_btf/cgroup_attach_task")
int cgroup_entered(u64 *context) {
    send_path((struct cgroup *)context[0], (const u8 *)context[1], (struct task_struct *)context[2]);
    return 0;
}
