// Tries every path that leads out of its directory, and everything that can be done with one.
// outcome: succeeded
// grants: {"dirs": [{"host": "data/walk-out", "guest": "/data", "mode": "rw"}]}

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const paths[] = {
    "/data/../secret.txt",
    "/data/../../secret.txt",
    "/data/x/../../../secret.txt",
    "/data/./.././../secret.txt",
    "/data//..//..//secret.txt",
    "../secret.txt",
    "../../secret.txt",
    "/etc/passwd",
    "//etc//passwd",
    "/data/../../../../../../../../etc/passwd",
    "/proc/self/environ",
    "/proc/self/maps",
    "/proc/self/mem",
    "/proc/self/fd/0",
    "/data/../../../../../../../proc/self/root/etc/passwd",
    "/dev/null",
    "/dev/stdin",
    "/dev/fd/3",
};

static int out;

static void tried(const char *what, const char *path, int worked) {
    if (worked) {
        printf("got out: %s %s\n", what, path);
        out = 1;
    }
}

int main(void) {
    FILE *own = fopen("/data/own", "w");
    if (!own || fputs("its own", own) < 0 || fclose(own) || mkdir("/data/x", 0700)) {
        puts("what it may do does not work");
        return 1;
    }
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        const char *path = paths[i];
        struct stat seen;
        tried("read", path, open(path, O_RDONLY) >= 0);
        tried("write", path, open(path, O_WRONLY | O_CREAT, 0600) >= 0);
        tried("stat", path, stat(path, &seen) == 0);
        tried("list", path, opendir(path) != NULL);
        tried("remove", path, unlink(path) == 0);
        tried("make a directory", path, mkdir(path, 0700) == 0);
        tried("move there", path, rename("/data/own", path) == 0);
        tried("take from there", path, rename(path, "/data/taken") == 0);
        tried("link", path, link(path, "/data/linked") == 0);
        if (symlink(path, "/data/link") == 0) {
            tried("follow a link to", path, open("/data/link", O_RDONLY) >= 0);
            unlink("/data/link");
        }
    }
    return out;
}
