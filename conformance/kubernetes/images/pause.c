// The process that holds a pod's namespaces: it does nothing, buries what the pod's other processes leave, and ends when
// it is told to.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    sigset_t signals;
    int signal = 0;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    // Blocked before anything can happen, and waited for: no handler, no race.
    sigprocmask(SIG_BLOCK, &signals, NULL);
    while (signal != SIGINT && signal != SIGTERM) {
        sigwait(&signals, &signal);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    return 0;
}
