// Two things that windows does and wine 8 does not: an argument says which; the status is 0 where it is done.
#include <winsock2.h>
#include <windows.h>
#include <wincrypt.h>
#include <stdio.h>
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

int main(int count, char **words) {
    const char *what = count == 2 ? words[1] : "";
    if (strcmp(what, "chain") == 0) return chain_engine();
    if (strcmp(what, "reset") == 0) return reset();
    return 2;
}
