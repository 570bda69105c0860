// Puts a directory and links in the place of one another, again and again, while race-open looks
// for the instant at which a path through them leads out.
// outcome: succeeded
// grants: {"dirs": [{"host": "data/race", "guest": "/data", "mode": "rw"}]}
// limits: {"timeout": "20s", "fuel": "unlimited"}

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    // Both stay inside by themselves: `up` leads from `a/b` to the granted directory.
    mkdir("/data/a", 0700);
    mkdir("/data/a/b", 0700);
    mkdir("/data/plain", 0700);
    symlink("../..", "/data/a/b/up");
    unsigned rounds = 0;
    for (time_t end = time(NULL) + 2; time(NULL) < end; rounds++) {
        // A link that leads out once it lies higher up.
        rename("/data/a/b/up", "/data/swap");
        rename("/data/swap", "/data/a/b/up");
        // A directory that lies deeper or higher while a path goes through it.
        rename("/data/a/b", "/data/b");
        rename("/data/b", "/data/a/b");
        symlink("plain", "/data/turn");
        unlink("/data/turn");
        mkdir("/data/turn", 0700);
        rmdir("/data/turn");
    }
    printf("%s\n", rounds ? "turned" : "never turned");
    return rounds == 0;
}
