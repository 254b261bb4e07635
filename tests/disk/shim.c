/* A disk that a test can break. Preloaded (LD_PRELOAD) into a process, it stands between SQLite and
 * the kernel: counts, logs, fails, delays or dies at the n-th write of the journal's files.
 *
 * DISK_CONTROL  a file of `struct control`, shared with the test, which may change it at any time
 * DISK_LOG      where every operation is written, with its data; none when unset
 *
 * Only the files of a journal are looked at, and the syncs of folders; never the shared memory. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 4, UNLINK = 8, ACK = 16 }; /* kinds, bits of a mask */
enum { NOTHING, FAIL, KILL_BEFORE, KILL_AFTER, DELAY };           /* deeds */
enum { DATABASE, WAL, ROLLBACK, FOLDER, ACKS };                   /* files */

struct control {
    int64_t count;    /* operations so far */
    int64_t nth;      /* the deed is done at this one, or the first after it of a kind of `mask` */
    int64_t for_ever; /* and at every later one */
    int64_t deed;
    int64_t mask;     /* of which kinds; others are counted, too */
    int64_t error;    /* errno of FAIL */
    int64_t hits;     /* deeds done so far */
    double delay_s;   /* of DELAY */
};

struct head {
    uint32_t kind, file;
    uint64_t offset, length;
};

static struct control *control;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("DISK_CONTROL");
    if (path) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        control = map == MAP_FAILED ? NULL : map;
        close(fd);
    }
    if ((path = getenv("DISK_LOG")))
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Which of the journal's files a path is; -1 for any other. */
static int file_at(const char *path)
{
    const char *name = strstr(path, "journal.sqlite");
    if (!name)
        return -1;
    name += strlen("journal.sqlite");
    return !*name                   ? DATABASE
           : !strcmp(name, "-wal")     ? WAL
           : !strcmp(name, "-journal") ? ROLLBACK
           : !strcmp(name, "-acks")    ? ACKS
                                       : -1;
}

static int file_of(int fd)
{
    char link[32], path[4096];
    struct stat found;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return -1;
    path[length] = 0;
    if (!fstat(fd, &found) && S_ISDIR(found.st_mode))
        return FOLDER;
    return file_at(path);
}

static void put(const void *bytes, size_t length)
{
    while (length) {
        ssize_t done = syscall(SYS_write, log_fd, bytes, length);
        if (done <= 0)
            abort();
        bytes = (const char *)bytes + done;
        length -= (size_t)done;
    }
}

static void note(uint32_t kind, int file, uint64_t offset, const void *data, uint64_t length)
{
    struct head head = {kind, (uint32_t)file, offset, length};
    if (log_fd < 0)
        return;
    pthread_mutex_lock(&lock);
    put(&head, sizeof head);
    if (data)
        put(data, length);
    pthread_mutex_unlock(&lock);
}

static void pause_for(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

/* What is to be done at this operation: 0 to go on, -1 to fail with errno, 1 to die after it. */
static int judge(uint32_t kind)
{
    if (!control)
        return 0;
    int64_t number = __atomic_add_fetch(&control->count, 1, __ATOMIC_SEQ_CST);
    int64_t nth = control->nth;
    if (!control->deed || !(control->mask & kind))
        return 0;
    if (number < nth || (control->hits && !control->for_ever))
        return 0;
    __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
    switch (control->deed) {
    case FAIL:
        errno = (int)control->error;
        return -1;
    case KILL_BEFORE:
        kill(getpid(), SIGKILL);
        pause();
        return 0;
    case KILL_AFTER:
        return 1;
    case DELAY:
        pause_for(control->delay_s);
    }
    return 0;
}

static void die_if(int after)
{
    if (after > 0) {
        kill(getpid(), SIGKILL);
        pause();
    }
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    int file = file_of(fd), verdict = 0;
    if (file == ACKS) {
        note(ACK, file, (uint64_t)offset, data, length);
    } else if (file >= 0) {
        if ((verdict = judge(WRITE)) < 0)
            return -1;
        note(WRITE, file, (uint64_t)offset, data, length);
    }
    ssize_t done = syscall(SYS_pwrite64, fd, data, length, offset);
    die_if(verdict);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

static int synced(long number, int fd)
{
    int file = file_of(fd), verdict = 0;
    if (file >= 0 && (verdict = judge(SYNC)) < 0)
        return -1;
    int done = (int)syscall(number, fd);
    if (file >= 0)
        note(SYNC, file, 0, NULL, 0);
    die_if(verdict);
    return done;
}

int fsync(int fd) { return synced(SYS_fsync, fd); }
int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }

int ftruncate64(int fd, off64_t length)
{
    int file = file_of(fd), verdict = 0;
    if (file >= 0) {
        if ((verdict = judge(TRUNCATE)) < 0)
            return -1;
        note(TRUNCATE, file, (uint64_t)length, NULL, 0);
    }
    int done = (int)syscall(SYS_ftruncate, fd, length);
    die_if(verdict);
    return done;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int unlink(const char *path)
{
    int file = file_at(path), verdict = 0;
    if (file >= 0) {
        if ((verdict = judge(UNLINK)) < 0)
            return -1;
        note(UNLINK, file, 0, NULL, 0);
    }
    int done = (int)syscall(SYS_unlink, path);
    die_if(verdict);
    return done;
}
