// Three things that windows does and wine 8 does not: an argument says which; the status is 0 where it is done.
#include <winsock2.h>
#include <windows.h>
#include <wincrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A chain engine is made from the structure as it is since windows 8. (The verifier of rustls asks for one.)
static int chain_engine(void) {
    CERT_CHAIN_ENGINE_CONFIG config = {0};
    HCERTCHAINENGINE engine;
    config.cbSize = sizeof config;
    return CertCreateCertificateChainEngine(&config, &engine) ? 0 : 1;
}

// Who reads from a connection that was reset is told so, and not of an end.
static int reset(void) {
    struct sockaddr_in here = {0};
    struct linger hard = {1, 0};
    int length = sizeof here;
    char byte;
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0), ours = socket(AF_INET, SOCK_STREAM, 0), theirs;
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (struct sockaddr *)&here, sizeof here);
    listen(listener, 1);
    getsockname(listener, (struct sockaddr *)&here, &length);
    connect(ours, (struct sockaddr *)&here, sizeof here);
    theirs = accept(listener, NULL, NULL);
    setsockopt(theirs, SOL_SOCKET, SO_LINGER, (char *)&hard, sizeof hard);
    closesocket(theirs);
    return recv(ours, &byte, 1, 0) == SOCKET_ERROR && WSAGetLastError() == WSAECONNRESET ? 0 : 1;
}

// The program that is ended: it sends without a pause.
static int victim(int port) {
    struct sockaddr_in there = {0};
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET ours = socket(AF_INET, SOCK_STREAM, 0);
    there.sin_family = AF_INET;
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons(port);
    connect(ours, (struct sockaddr *)&there, sizeof there);
    while (send(ours, "!", 1, 0) == 1) {}
    return 0;
}

// The sockets of a process that is ended are closed, also one that it is sending on. (Wine's server lets the process do
// the sending and waits to be told how it went: by a process that is no more, for ever. Each attempt is a race.)
static int ended(const char *program) {
    struct sockaddr_in here = {0};
    int length = sizeof here, patience = 5000;
    char bytes[4096], line[MAX_PATH + 32];
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET listener = socket(AF_INET, SOCK_STREAM, 0);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(listener, (struct sockaddr *)&here, sizeof here);
    listen(listener, 1);
    getsockname(listener, (struct sockaddr *)&here, &length);
    snprintf(line, sizeof line, "\"%s\" victim %d", program, ntohs(here.sin_port));
    for (int attempt = 0; attempt < 50; attempt++) {
        STARTUPINFOA start = {.cb = sizeof start};
        PROCESS_INFORMATION process;
        int read;
        if (!CreateProcessA(NULL, line, NULL, NULL, FALSE, 0, NULL, NULL, &start, &process)) return 2;
        SOCKET theirs = accept(listener, NULL, NULL);
        setsockopt(theirs, SOL_SOCKET, SO_RCVTIMEO, (char *)&patience, sizeof patience);
        recv(theirs, bytes, 1, 0);
        TerminateProcess(process.hProcess, 1);
        WaitForSingleObject(process.hProcess, INFINITE);
        do read = recv(theirs, bytes, sizeof bytes, 0);
        while (read > 0);
        if (read == SOCKET_ERROR && WSAGetLastError() == WSAETIMEDOUT) return 1;
        closesocket(theirs);
        CloseHandle(process.hThread);
        CloseHandle(process.hProcess);
    }
    return 0;
}

int main(int count, char **words) {
    if (count == 3 && strcmp(words[1], "victim") == 0) return victim(atoi(words[2]));
    const char *what = count == 2 ? words[1] : "";
    if (strcmp(what, "chain") == 0) return chain_engine();
    if (strcmp(what, "reset") == 0) return reset();
    if (strcmp(what, "ended") == 0) return ended(words[0]);
    return 2;
}
