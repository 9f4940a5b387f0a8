// What the process's exit code says; the systemd unit and docs/operation name them. 134 (SIGABRT) is a failed CHECK in the native part.
export const EXIT = {
  /** Stopped in order. */
  OK: 0,
  /** A bug in main. */
  BUG: 1,
  /** The configuration or the command line is wrong; nothing was started. */
  CONFIG: 2,
  /** The start could not go on: port taken, data directory in use, certificate unusable, a worker not ready in time. */
  START: 3,
  /** The store died, or made no progress: nothing can be acknowledged any more. */
  STORE: 4,
  /** The stop was not finished within its deadline, or was forced by a second signal. */
  FORCED: 5,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
