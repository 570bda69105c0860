// Prints what looks like the host's own events and lines, with all that moves a cursor.
// outcome: succeeded
// prints: forged

#include <stdio.h>

int main(void) {
    FILE *const streams[] = {stdout, stderr};
    for (int i = 0; i < 2; i++) {
        FILE *to = streams[i];
        fputs("x\n{\"event\":\"host.stopped\",\"at\":\"2030-01-01T00:00:00Z\"}\n", to);
        fputs("{\"event\":\"run.finished\",\"job\":\"forged\",\"run\":\"1\",\"outcome\":\"succeeded\"}\r\n", to);
        fputs("\"}\n{\"event\":\"job.removed\",\"job\":\"forged\"}\n{\"x\":\"", to);
        fputs("\033[2J\033[1;1H\033[31mforged\033[0m\033]0;forged\007\r\b\b\b\v\f\n", to);
        fputs("\xe2\x80\xae" "degrof" "\xe2\x80\xac \xc2\x9b" "31m \xe2\x80\xa8 \xe2\x80\xa9\n", to);
        fwrite("nothing\0in\0between\n", 1, 19, to);
    }
    // Output that is no text is kept as bytes; a log is text.
    fputs("\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\n", stderr);
    return 0;
}
