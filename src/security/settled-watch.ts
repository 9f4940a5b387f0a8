// Sees that files in some directories changed, and says so once they have been still for a while: editors write in several steps, and several files are
// replaced one after the other. Directories are watched rather than files: a new file in the place of the old one would end a watch on that.
// On main's thread.
import { watch, type FSWatcher } from "node:fs";

export interface SettledWatchOptions {
  readonly directories: Iterable<string>;
  readonly settleMs: number;
  /** Whether a name in them is of interest; null = it is not known. */
  readonly concerns: (name: string | null) => boolean;
  readonly onSettled: () => void;
  /** A directory cannot be watched, or not any more. */
  readonly onLost: (directory: string, error: Error) => void;
}

export class SettledWatch {
  private readonly options: SettledWatchOptions;
  private readonly watchers: FSWatcher[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(options: SettledWatchOptions) {
    this.options = options;
    for (const directory of new Set(options.directories)) this.watch(directory);
  }

  close(): void {
    clearTimeout(this.timer);
    for (const watcher of this.watchers.splice(0)) watcher.close();
  }

  private watch(directory: string): void {
    const { concerns, onLost } = this.options;
    try {
      const watcher = watch(directory, { persistent: false }, (_event, name) => {
        if (concerns(name)) this.settle();
      });
      watcher.on("error", (error) => onLost(directory, error));
      this.watchers.push(watcher);
    } catch (error) {
      onLost(directory, error as Error);
    }
  }

  private settle(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(this.options.onSettled, this.options.settleMs);
    this.timer.unref();
  }
}
