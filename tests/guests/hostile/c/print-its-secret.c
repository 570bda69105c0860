// Prints its secret as it is, in base64, in hexadecimal digits and with percent signs: at once, and byte by byte.
// outcome: succeeded
// prints: [secret api-key]
// grants: {"env": {"TOKEN": {"secret": "api-key"}}}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(const char *text, size_t piece) {
    for (int stream = 1; stream <= 2; stream++) {
        for (size_t at = 0, length = strlen(text); at < length; at += piece) {
            write(stream, text + at, length - at < piece ? length - at : piece);
        }
        write(stream, "\n", 1);
    }
}

static void base64(const char *text, char *to) {
    const char *const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t left = strlen(text);
    for (; left; text += left < 3 ? left : 3, left -= left < 3 ? left : 3) {
        unsigned bits = (unsigned char)text[0] << 16;
        if (left > 1) bits |= (unsigned char)text[1] << 8;
        if (left > 2) bits |= (unsigned char)text[2];
        *to++ = letters[bits >> 18];
        *to++ = letters[bits >> 12 & 63];
        *to++ = left > 1 ? letters[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? letters[bits & 63] : '=';
    }
    *to = 0;
}

static void percent(const char *text, char *to) {
    const char *const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text)) {
            *to++ = *text;
        } else {
            to += sprintf(to, "%%%02X", (unsigned char)*text);
        }
    }
    *to = 0;
}

static void hexadecimal(const char *text, char *to) {
    for (; *text; text++) {
        to += sprintf(to, "%02x", (unsigned char)*text);
    }
}

int main(void) {
    const char *secret = getenv("TOKEN");
    char coded[1024];
    if (!secret || strlen(secret) > 256) {
        return 1;
    }
    for (size_t piece = 1; piece <= 1000; piece *= 10) {
        say(secret, piece);
        base64(secret, coded);
        say(coded, piece);
        hexadecimal(secret, coded);
        say(coded, piece);
        percent(secret, coded);
        say(coded, piece);
    }
    return 0;
}
